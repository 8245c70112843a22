//! Several objects in one answer: fewer requests, and nothing that rests on it.

use std::path::Path;
use std::time::Duration;

use ostree::RepoMode;

use crate::far::{Act, Asked, Far};
use crate::sandbox::{LONG, Sandbox, assert_has, options, pull, remote, text};

/// What a server that can do it says.
const OFFER: &str = "Backstop-Many: 64";

/// The names in a request for many.
fn names(asked: &Asked) -> Option<Vec<&str>> {
    let list = asked.target.strip_prefix("/objects?of=")?;
    Some(list.split(',').collect())
}

/// The right answer, an object at a time.
fn objects(root: &Path, names: &[&str]) -> Vec<Vec<u8>> {
    let object = |name: &&str| match std::fs::read(root.join("objects").join(name)) {
        Ok(bytes) => [&(bytes.len() as u64).to_be_bytes(), &bytes[..]].concat(),
        Err(_) => u64::MAX.to_be_bytes().to_vec(),
    };
    names.iter().map(object).collect()
}

/// Pulls from a server that offers many and answers such requests like this; the server.
fn pulled(name: &str, answer: impl Fn(Vec<Vec<u8>>) -> Act + Send + Sync + 'static) -> Far {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let root = origin.path.clone();
    let far = Far::start(&origin.path, move |asked, _| match names(asked) {
        Some(names) => answer(objects(&root, &names)),
        None if asked.header("range").is_some() => Act::Serve,
        None => Act::ServeWith(OFFER),
    });
    let repo = sandbox.repo("to", RepoMode::BareUser);
    let mut impatient = options(&["main"]);
    impatient.net.patience = Duration::from_secs(2);
    let done = pull(&repo, &remote(&far.url()), &impatient);
    done.unwrap_or_else(|e| panic!("{name}: {}", text(&e)));
    assert_has(&repo, "origin:main", origin.second);
    far
}

/// How many requests there were for many objects, and for one.
fn requests(far: &Far) -> (usize, usize) {
    (far.count("/objects?of="), far.count("/objects/"))
}

#[test]
fn a_few_requests_bring_all() {
    let far = pulled("all well", |objects| Act::Bytes(objects.concat()));
    let (many, alone) = requests(&far);
    assert!(many > 0 && alone < 8, "{many} and {alone}");
}

#[test]
fn what_is_lacking_or_wrong_is_asked_for_alone() {
    type Answer = fn(Vec<Vec<u8>>) -> Act;
    let answers: [(&str, Answer); 11] = [
        ("refused", |_| Act::Status(404)),
        ("broken", |_| Act::Status(500)),
        ("closed", |_| Act::Close),
        ("nothing", |_| Act::Bytes(Vec::new())),
        ("all absent", |o| Act::Bytes(vec![0xff; 8 * o.len()])),
        ("half of a length", |_| Act::Bytes(vec![0; 3])),
        ("another order", |mut o| {
            o.reverse();
            Act::Bytes(o.concat())
        }),
        ("a flipped bit", |mut o| {
            let last = o.last_mut().and_then(|object| object.last_mut());
            last.into_iter().for_each(|byte| *byte ^= 1);
            Act::Bytes(o.concat())
        }),
        ("half of it", |o| {
            let all = o.concat();
            Act::Bytes(all[..all.len() / 2].to_vec())
        }),
        ("a file without end", |_| Act::Endless(0)),
        ("silence after a while", |o| {
            let all = o.concat();
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n";
            Act::Stall([&head[..], &all[..all.len() / 2]].concat())
        }),
    ];
    for (name, answer) in answers {
        let (many, alone) = requests(&pulled(name, answer));
        // Once is enough for each thread, but for what is merely not there.
        assert!(
            (1..=8).contains(&many) || name == "all absent",
            "{name}: {many}"
        );
        assert!(alone > 12, "{name}: {alone}");
    }
}

/// A long file of which much has arrived is gone on with, not begun anew.
#[test]
fn what_has_arrived_of_a_cut_answer_is_kept() {
    let far = pulled("cut", |objects| {
        let mut all = objects.concat();
        // The longest object by far is noise.
        if all.len() > LONG as usize {
            all.truncate(all.len() - (all.len() / 4));
        }
        Act::Bytes(all)
    });
    let ranged = far
        .asked()
        .iter()
        .filter(|a| a.header("range").is_some())
        .count();
    let (_, alone) = requests(&far);
    assert!(ranged > 0 && alone > 0, "{ranged} of {alone}");
}
