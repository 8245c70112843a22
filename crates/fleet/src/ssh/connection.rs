//! One connection to a host, with backstop at its other end.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::bootstrap::{self, Bring};
use super::command::{self, Way};
use super::limit::{Limit, watch};
use super::listener::{PROMPT, Said, keep_end, listen, listen_to_errors};
use crate::config::Host;
use crate::local::{kill_group, one_line};
use crate::wire::{Frame, Hello, LONGEST, PROTOCOL, Program, Reply, Request};
use crate::{Error, Result};

/// How much of a program's output is kept.
const MOST_OUTPUT: usize = 64 << 20;
/// A host has this much longer than a program may take to say that it took too
/// long.
const GRACE: Duration = Duration::from_secs(15);
/// What is said on standard error may come so much later than the end of the
/// output.
const LAST_WORDS: Duration = Duration::from_millis(20);
/// A secret that is never printed.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// Takes it.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// What a program on the host came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its status; none if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub output: Vec<u8>,
    /// The end of what it printed on standard error, in one line.
    pub errors: String,
}

impl Ran {
    /// What it printed, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }
}

/// A connection with backstop at its other end.
#[derive(Debug)]
pub struct Connection {
    name: String,
    address: String,
    child: Arc<Mutex<Child>>,
    stdin: Option<ChildStdin>,
    said: Receiver<Said>,
    errors: Arc<Mutex<Vec<u8>>>,
    limit: Arc<Limit>,
    hello: Hello,
    uploaded: bool,
}

/// What is needed to open one.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// The programs to bring along.
    pub programs: &'a super::Programs,
    /// The socket of the host's session.
    pub socket: &'a Path,
    /// For sudo.
    pub password: Option<&'a Password>,
}

impl Connection {
    /// Logs in, brings backstop along and starts it.
    ///
    /// # Errors
    /// The host can't be reached, won't be root, or can't run the program.
    pub fn open(host: &Host, way: Way, with: Opening<'_>) -> Result<Self> {
        let programs = with.programs.for_host(&host.program)?;
        let mark = mark();
        // A fresh connection follows a session that has seen the program whole.
        let seen = way == Way::Fresh;
        let places = (host.program_dir.as_path(), Path::new(bootstrap::NOTES));
        let script = bootstrap::script(&mark, places, &programs, seen);
        let sudo = host.sudo.then(|| match with.password {
            Some(_) => format!("-S -p {PROMPT}"),
            None => "-n".to_owned(),
        });
        let line = bootstrap::command_line(&script, sudo.as_deref());
        let mut connection = Self::start(host, way, with.socket, &line, mark)?;
        connection.hello = connection
            .limited(host.bounds.connect, "opening a connection", |c| {
                c.greet(host, &programs, with.password)
            })
            .map_err(|e| connection.as_unreachable(e))?;
        Ok(connection)
    }

    fn start(host: &Host, way: Way, socket: &Path, line: &str, mark: String) -> Result<Self> {
        let address = &host.address;
        let mut command = command::ssh(address, way, socket, host.bounds.connect, line);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Ctrl-C here must not end what a host is in the middle of.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|e| Error::Program {
            doing: "run `ssh`".to_owned(),
            why: e.to_string(),
        })?;
        let (tell, said) = channel();
        let stdin = child.stdin.take();
        let errors = Arc::new(Mutex::new(Vec::new()));
        if let Some(stdout) = child.stdout.take() {
            let tell = tell.clone();
            std::thread::spawn(move || listen(stdout, &mark, &tell));
        }
        if let Some(stderr) = child.stderr.take() {
            let errors = errors.clone();
            std::thread::spawn(move || listen_to_errors(stderr, &errors, &tell));
        }
        let child = Arc::new(Mutex::new(child));
        let limit = Arc::new(Limit::default());
        let (watched, watching) = (child.clone(), limit.clone());
        std::thread::spawn(move || watch(&watching, &watched));
        Ok(Self {
            name: host.name.clone(),
            address: address.to_string(),
            child,
            stdin,
            said,
            errors,
            limit,
            hello: Hello {
                protocol: 0,
                version: String::new(),
                hostname: String::new(),
                root: false,
            },
            uploaded: false,
        })
    }

    /// What the host said first.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Whether backstop had to be brought along.
    #[must_use]
    pub fn uploaded(&self) -> bool {
        self.uploaded
    }

    /// Goes through the script with the host, until backstop greets.
    fn greet(
        &mut self,
        host: &Host,
        programs: &[Arc<Bring>],
        password: Option<&Password>,
    ) -> Result<Hello> {
        let mut asked = false;
        loop {
            match self.hear()? {
                Said::Prompt if asked => {
                    return Err(self.cannot("become root", "sudo does not take the password"));
                }
                Said::Prompt => {
                    asked = true;
                    let password = password.map_or("", |p| p.0.as_str());
                    self.write(format!("{password}\n").as_bytes())?;
                }
                Said::Line(line) => self.script_says(host, &line, programs)?,
                Said::Frame(Frame::Message(bytes)) => return self.check_hello(&bytes),
                Said::Frame(_) => return Err(self.nonsense("data before its greeting")),
                Said::Gone(why) => return Err(self.gone("opening it", &why)),
            }
        }
    }

    fn script_says(&mut self, host: &Host, line: &str, programs: &[Arc<Bring>]) -> Result<()> {
        if line == "run" {
            return Ok(());
        }
        if let Some(arch) = line.strip_prefix("arch ") {
            let arch = one_line(arch);
            return Err(Error::NoProgram { arch });
        }
        if let Some(digest) = line.strip_prefix("send ") {
            let wanted = programs.iter().find(|p| p.digest == digest);
            let Some(program) = wanted else {
                return Err(self.nonsense("it wants a program that we do not have"));
            };
            self.set_limit(Some(host.bounds.upload));
            self.uploaded = true;
            return self.upload(program);
        }
        if line.starts_with("cannot ") {
            return Err(self.script_failed(line));
        }
        Err(self.nonsense(line))
    }

    fn upload(&mut self, program: &Bring) -> Result<()> {
        let path = &program.path;
        let mut file = std::fs::File::open(path).map_err(Error::file("open", path))?;
        let Some(stdin) = self.stdin.as_mut() else {
            return Err(self.gone("sending backstop", ""));
        };
        match std::io::copy(&mut file, stdin).and_then(|_| stdin.flush()) {
            Ok(()) => Ok(()),
            // The script says why it stopped taking it.
            Err(e) => match self.hear()? {
                Said::Line(line) => Err(self.script_failed(&line)),
                _ => Err(self.gone("sending backstop", &e.to_string())),
            },
        }
    }

    /// Why the script gave up: in its own words, and those of the programs it ran.
    fn script_failed(&self, line: &str) -> Error {
        // They may come a moment later.
        std::thread::sleep(LAST_WORDS);
        let what = one_line(line.strip_prefix("cannot ").unwrap_or(line));
        let (doing, why) = what.split_once(": ").unwrap_or((&what, ""));
        match (why, self.said_on_errors().as_str()) {
            (why, "") => self.cannot(doing, why),
            ("", said) => self.cannot(doing, said),
            (why, said) => self.cannot(doing, &format!("{why} ({said})")),
        }
    }

    /// The end of what came on standard error, in one line.
    fn said_on_errors(&self) -> String {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        one_line(&String::from_utf8_lossy(&errors))
    }

    fn check_hello(&self, bytes: &[u8]) -> Result<Hello> {
        let hello: Hello =
            serde_json::from_slice(bytes).map_err(|e| self.nonsense(&e.to_string()))?;
        if hello.protocol == PROTOCOL {
            Ok(hello)
        } else {
            Err(self.nonsense(&format!("protocol {}", hello.protocol)))
        }
    }

    /// Runs a program on the host, with data for its standard input if there is
    /// any. `tell` hears its output as it comes.
    ///
    /// # Errors
    /// It can't be run, takes too long, or the connection breaks. A status other
    /// than 0 is no error.
    pub fn run(
        &mut self,
        program: Program,
        arguments: &[String],
        input: Option<&mut dyn Read>,
        limit: Duration,
        tell: &mut dyn FnMut(&[u8]),
    ) -> Result<Ran> {
        let doing = match &program {
            Program::Backstop => format!("run `backstop {}`", arguments.join(" ")),
            Program::Named(name) => format!("run `{name}`"),
        };
        let request = Request::Run {
            program,
            arguments: arguments.to_vec(),
            input: input.is_some(),
            limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
        };
        self.limited(limit + GRACE, &doing, |c| {
            c.ask(&request, input)?;
            let (reply, output, errors) = c.answer(&doing, tell)?;
            match reply {
                Reply::Ended { code } => Ok(Ran {
                    code,
                    output,
                    errors: one_line(&String::from_utf8_lossy(&errors)),
                }),
                Reply::TooSlow => Err(Error::TooSlow {
                    what: format!("{}: to {doing}", c.name),
                    limit,
                }),
                Reply::Failed { why } => Err(c.cannot(&doing, &why)),
                Reply::Done => Err(c.nonsense("no status")),
            }
        })
    }

    /// Runs a program that must end with status 0, and gives what it printed.
    ///
    /// # Errors
    /// As [`Connection::run`], or what it said when it failed.
    pub fn must_run(
        &mut self,
        program: &str,
        arguments: &[String],
        input: Option<&mut dyn Read>,
        limit: Duration,
    ) -> Result<Vec<u8>> {
        let named = Program::Named(program.to_owned());
        let ran = self.run(named, arguments, input, limit, &mut |_| {})?;
        match ran.code {
            Some(0) => Ok(ran.output),
            code => {
                let why = if ran.errors.is_empty() {
                    code.map_or("killed".to_owned(), |code| format!("status {code}"))
                } else {
                    ran.errors
                };
                Err(self.cannot(&format!("run `{program}`"), &why))
            }
        }
    }

    /// Asks for something that is no program; gives what came back.
    ///
    /// # Errors
    /// It can't be done, takes too long, or the connection breaks.
    pub fn request(
        &mut self,
        doing: &str,
        request: &Request,
        input: &mut dyn Read,
        limit: Duration,
    ) -> Result<Vec<u8>> {
        self.limited(limit, doing, |c| {
            c.ask(request, Some(input))?;
            match c.answer(doing, &mut |_| {})? {
                (Reply::Done, output, _) => Ok(output),
                (Reply::Failed { why }, ..) => Err(c.cannot(doing, &why)),
                _ => Err(c.nonsense("an answer to something else")),
            }
        })
    }

    fn ask(&mut self, request: &Request, input: Option<&mut dyn Read>) -> Result<()> {
        let frame = Frame::message(request).map_err(|e| self.nonsense(&e.to_string()))?;
        self.send(&frame)?;
        let Some(input) = input else {
            return Ok(());
        };
        let mut buffer = vec![0; LONGEST / 4];
        loop {
            let read = input.read(&mut buffer).map_err(|e| Error::Program {
                doing: "read what is to be sent".to_owned(),
                why: e.to_string(),
            })?;
            if read == 0 {
                return self.send(&Frame::EndOfInput);
            }
            self.send(&Frame::Input(buffer[..read].to_vec()))?;
        }
    }

    fn answer(
        &mut self,
        doing: &str,
        tell: &mut dyn FnMut(&[u8]),
    ) -> Result<(Reply, Vec<u8>, Vec<u8>)> {
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        loop {
            match self.hear()? {
                Said::Frame(Frame::Output(bytes)) => {
                    tell(&bytes);
                    if output.len() + bytes.len() > MOST_OUTPUT {
                        return Err(self.nonsense("more than 64 MiB of output"));
                    }
                    output.extend(bytes);
                }
                Said::Frame(Frame::Errors(bytes)) => keep_end(&mut errors, &bytes),
                Said::Frame(Frame::Message(bytes)) => {
                    let reply = serde_json::from_slice(&bytes);
                    let reply = reply.map_err(|e| self.nonsense(&e.to_string()))?;
                    return Ok((reply, output, errors));
                }
                Said::Gone(why) => return Err(self.gone(doing, &why)),
                _ => return Err(self.nonsense("input")),
            }
        }
    }

    fn send(&mut self, frame: &Frame) -> Result<()> {
        let Some(stdin) = self.stdin.as_mut() else {
            return Err(self.gone("sending", ""));
        };
        let sent = frame.write(stdin).and_then(|()| stdin.flush());
        sent.map_err(|e| self.gone("sending", &e.to_string()))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(stdin) = self.stdin.as_mut() else {
            return Err(self.gone("sending", ""));
        };
        let sent = stdin.write_all(bytes).and_then(|()| stdin.flush());
        sent.map_err(|e| self.gone("sending", &e.to_string()))
    }

    /// The next thing from the host. Ends when the watch cuts the connection.
    fn hear(&mut self) -> Result<Said> {
        loop {
            match self.said.recv_timeout(Duration::from_secs(3600)) {
                Ok(said) => return Ok(said),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(Said::Gone(String::new())),
            }
        }
    }

    fn set_limit(&self, limit: Option<Duration>) {
        let mut state = self
            .limit
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        state.at = limit.map(|limit| Instant::now() + limit);
        self.limit.changed.notify_all();
    }

    /// Does something; when it takes longer than `limit`, the connection is cut.
    fn limited<T>(
        &mut self,
        limit: Duration,
        doing: &str,
        act: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.set_limit(Some(limit));
        let done = act(self);
        self.set_limit(None);
        let expired = {
            let state = self.limit.state.lock();
            state.unwrap_or_else(PoisonError::into_inner).expired
        };
        match done {
            Err(Error::Cut { .. } | Error::Unreachable { .. }) if expired => Err(Error::TooSlow {
                what: format!("{}: {doing}", self.name),
                limit,
            }),
            done => done,
        }
    }

    fn gone(&self, doing: &str, why: &str) -> Error {
        // ssh says why on standard error, which may come a moment later.
        std::thread::sleep(LAST_WORDS);
        let said = self.said_on_errors();
        let why = match (said.as_str(), why) {
            ("", "") => "it was closed at the other end".to_owned(),
            ("", why) => why.to_owned(),
            (said, _) => said.to_owned(),
        };
        Error::Cut {
            address: self.address.clone(),
            doing: doing.to_owned(),
            why,
        }
    }

    /// A connection that broke before the greeting was none.
    fn as_unreachable(&self, error: Error) -> Error {
        match error {
            Error::Cut { why, .. } if why.starts_with("sudo:") => Error::OnHost {
                host: self.name.clone(),
                doing: "become root".to_owned(),
                why: format!("{why} (`--ask-sudo-password` asks for one)"),
            },
            Error::Cut { address, why, .. } => Error::Unreachable { address, why },
            Error::TooSlow { limit, .. } => Error::Unreachable {
                address: self.address.clone(),
                why: format!("no answer within {} s", limit.as_secs()),
            },
            error => error,
        }
    }

    fn cannot(&self, doing: &str, why: &str) -> Error {
        Error::OnHost {
            host: self.name.clone(),
            doing: doing.to_owned(),
            why: if why.is_empty() {
                "it did not say why"
            } else {
                why
            }
            .to_owned(),
        }
    }

    fn nonsense(&self, what: &str) -> Error {
        Error::Nonsense {
            from: self.name.clone(),
            what: one_line(what),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The other end sees the end of its input and leaves; ssh follows.
        drop(self.stdin.take());
        {
            let state = self.limit.state.lock();
            state.unwrap_or_else(PoisonError::into_inner).closed = true;
        }
        self.limit.changed.notify_all();
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + Duration::from_millis(500);
        while Instant::now() < until {
            match child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                _ => return,
            }
        }
        kill_group(&mut child);
    }
}

/// A word that a host does not print by chance.
fn mark() -> String {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    format!("backstop-{:x}-{:x}:", std::process::id(), since.as_nanos())
}
