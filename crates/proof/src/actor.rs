//! A host in a story.

use std::ops::Deref;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::Result;
use testbed::nixos::{NixHost, NixMachine};

/// How long anything may take on a machine that has much else to do.
const LIMIT: Duration = Duration::from_secs(300);
/// How often is looked.
const POLL: Duration = Duration::from_millis(100);

/// What a story asks of a host, whatever it is made of.
pub trait Host {
    /// Its name.
    fn name(&self) -> &str;
    /// Runs a script on it, as if typed at its console.
    ///
    /// # Errors
    /// It is off.
    fn output(&self, script: &str) -> Result<Output>;
    /// The toplevel that is active.
    ///
    /// # Errors
    /// It is off.
    fn active(&self) -> Result<String>;
    /// The toplevel that its boot loader's default names.
    ///
    /// # Errors
    /// There is none.
    fn default(&self) -> Result<String>;
}

/// A host, and the version that it ran first.
#[derive(Debug)]
pub struct Actor<H = NixHost> {
    host: H,
    first: String,
}

/// How an upgrade ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ending {
    /// `kept`, `rolled-back` or `rejected`.
    pub end: String,
    /// Why, in one word.
    pub why: String,
    /// All that is recorded of it.
    pub record: Value,
}

impl Host for NixHost {
    fn name(&self) -> &str {
        self.name()
    }

    fn output(&self, script: &str) -> Result<Output> {
        self.output(script)
    }

    fn active(&self) -> Result<String> {
        self.active()
    }

    fn default(&self) -> Result<String> {
        self.default()
    }
}

impl Host for NixMachine {
    fn name(&self) -> &str {
        self.name()
    }

    fn output(&self, script: &str) -> Result<Output> {
        self.output(script)
    }

    fn active(&self) -> Result<String> {
        self.active()
    }

    fn default(&self) -> Result<String> {
        self.default()
    }
}

impl<H> Deref for Actor<H> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.host
    }
}

impl<H: Host> Actor<H> {
    pub(crate) fn new(host: H, first: String) -> Self {
        Self { host, first }
    }

    /// The version that it ran first.
    #[must_use]
    pub fn first_version(&self) -> &str {
        &self.first
    }

    /// Runs a script; answers with its exit code and all that it printed. Nothing
    /// is printed by a host that is just going down.
    pub fn tries(&self, script: &str) -> (Option<i32>, String) {
        let Ok(output) = self.host.output(script) else {
            return (None, String::new());
        };
        let both = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&both).into_owned();
        (output.status.code(), text)
    }

    /// What a command prints as JSON.
    #[must_use]
    pub fn json(&self, command: &str) -> Value {
        let output = self.host.output(command).ok();
        output
            .and_then(|output| serde_json::from_slice(&output.stdout).ok())
            .unwrap_or_default()
    }

    /// What `backstop status` says.
    #[must_use]
    pub fn status(&self) -> Value {
        self.json("backstop --json status")
    }

    /// How upgrade `n` ended, counted from 1, if it did.
    #[must_use]
    pub fn ending(&self, n: usize) -> Option<Ending> {
        let (_, text) = self.tries("backstop --json history");
        let record: Value = serde_json::from_str(text.lines().nth(n.checked_sub(1)?)?).ok()?;
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let outcome = &record["outcome"];
        let ending = Ending {
            end: word(&outcome["end"]),
            why: word(&outcome["reason"]["why"]),
            record: record.clone(),
        };
        (!ending.end.is_empty()).then_some(ending)
    }

    /// Waits for the end of upgrade `n`, over reboots.
    ///
    /// # Panics
    /// It does not end.
    #[track_caller]
    #[must_use]
    pub fn wait_for_ending(&self, n: usize) -> Ending {
        self.wait_for("the upgrade's end", || self.ending(n))
    }

    /// Waits until something is there.
    ///
    /// # Panics
    /// It does not come.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let until = Instant::now() + LIMIT;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(
                Instant::now() < until,
                "{}: waited for {what}\n{}",
                self.host.name(),
                self.testimony()
            );
            std::thread::sleep(POLL);
        }
    }

    /// Waits until something is so.
    ///
    /// # Panics
    /// It never is.
    #[track_caller]
    pub fn wait_until(&self, what: &str, mut so: impl FnMut() -> bool) {
        self.wait_for(what, || so().then_some(()));
    }

    /// What the host can say of itself, for a test that failed.
    #[must_use]
    pub fn testimony(&self) -> String {
        let script = "backstop status; backstop history; journalctl --no-pager -n 150; systemctl --no-pager list-units --failed; tail -n 20 /var/lib/backstop/log/*";
        self.tries(script).1
    }

    /// Asserts that it runs its first version as if nothing had happened.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn assert_back(&self) {
        self.assert_back_on(&self.first);
    }

    /// Asserts that it runs this version as if nothing had happened since.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn assert_back_on(&self, version: &str) {
        self.wait_until("the version before", || {
            self.host.active().is_ok_and(|active| active == version)
        });
        self.assert_default(version);
        self.assert_units_run();
    }

    /// Asserts that it runs this version and boots it from now on.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn assert_kept(&self, version: &str) {
        assert_eq!(self.host.active().ok().as_deref(), Some(version));
        self.assert_default(version);
        self.assert_units_run();
    }

    #[track_caller]
    fn assert_default(&self, version: &str) {
        assert_eq!(
            self.host.default().ok().as_deref(),
            Some(version),
            "the default"
        );
    }

    #[track_caller]
    fn assert_units_run(&self) {
        self.wait_until("all units to run", || {
            let asked = "systemctl is-active --quiet app sshd network && systemctl list-units --failed --plain --no-legend";
            self.tries(asked) == (Some(0), String::new())
        });
    }
}
