//! `ostree refs --collections`

use ostree::{CollectionRef, Repo};

use super::summary::update_after_ref;
use crate::cx::Cx;
use crate::fail;

/// Lists, makes and deletes refs under the names of their collections.
pub fn run(cx: &mut Cx, repo: &Repo) -> anyhow::Result<()> {
    cx.refuse(&["alias"])?;
    if let Some(new) = cx.given.value("create").map(str::to_owned) {
        create(cx, repo, &new)?;
        return update_after_ref(repo);
    }
    if cx.given.has("delete") {
        delete(cx, repo)?;
        return update_after_ref(repo);
    }
    for (of, checksum) in repo.collection_refs()? {
        if !is_chosen(cx, &of) {
            continue;
        }
        match cx.given.has("revision") {
            true => writeln!(cx.out, "{of}\t{checksum}")?,
            false => writeln!(cx.out, "{of}")?,
        }
    }
    Ok(())
}

/// Whether the command line names its collection, or none.
fn is_chosen(cx: &Cx, of: &CollectionRef) -> bool {
    cx.given.rest.is_empty() || cx.given.rest.contains(&of.collection)
}

fn create(cx: &mut Cx, repo: &Repo, new: &str) -> anyhow::Result<()> {
    let [target] = cx.given.rest.as_slice() else {
        return fail("Must specify a single EXISTING ref or commit when using --create");
    };
    let Some((collection, name)) = new.split_once(':') else {
        return fail(format!(
            "{new} names no collection: COLLECTION:REF is wanted"
        ));
    };
    let of = CollectionRef::new(collection, name)?;
    if repo.collection_refs()?.contains_key(&of) && !cx.given.has("force") {
        return fail(format!("--create specified but ref {new} already exists"));
    }
    let checksum = repo.resolve(target)?;
    Ok(repo.set_collection_ref(&of, Some(&checksum))?)
}

fn delete(cx: &mut Cx, repo: &Repo) -> anyhow::Result<()> {
    if cx.given.rest.is_empty() {
        return fail("At least one PREFIX is required when deleting refs");
    }
    for of in repo.collection_refs()?.into_keys() {
        if is_chosen(cx, &of) {
            repo.set_collection_ref(&of, None)?;
        }
    }
    Ok(())
}
