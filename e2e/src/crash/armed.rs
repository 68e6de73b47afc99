//! What is armed, and who has stopped at it.
//!
//! A plugin is told in its environment, once. The agent reads its point from a file whenever it passes one, and the file is locked
//! until it has gone on or has stopped: once the file was emptied under a lock of one's own, nobody stops any more, and who has
//! stopped has said so.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::draw::Draw;

/// The point of a draw, and its stops.
pub struct Armed {
    /// Where the agent reads its point.
    asked: PathBuf,
    /// Where a process that stops says at which point it is.
    pub hit: PathBuf,
    /// Where processes leave a line for every point that they pass.
    pub trace: PathBuf,
    /// What a plugin is armed with; none where the agent is.
    plugin: Option<String>,
    /// How often a process is to stop.
    wanted: usize,
    /// How many stops of the agent are known.
    known: usize,
}

impl Armed {
    /// Nothing yet.
    pub fn in_folder(folder: &Path) -> Self {
        let [asked, hit, trace] = ["fault", "fault.hit", "fault.trace"].map(|name| folder.join(name));
        Self { asked, hit, trace, plugin: None, wanted: 1, known: 0 }
    }

    /// With which the agent is started.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("FERRANT_FAULT", format!("@{}", self.asked.display())),
            ("FERRANT_FAULT_HIT", self.hit.display().to_string()),
            ("FERRANT_FAULT_TRACE", self.trace.display().to_string()),
        ]
    }

    /// A draw begins: earlier stops and passings are forgotten.
    pub fn arm(&mut self, draw: &Draw) -> Result<()> {
        self.take_trace();
        // Nothing has stopped yet.
        let _ = fs::remove_file(&self.hit);
        (self.wanted, self.known) = (1 + usize::from(draw.twice), 0);
        self.plugin = draw.stops_plugin().then(|| draw.armed());
        if self.plugin.is_none() && !draw.point.is_empty() {
            fs::write(&self.asked, draw.armed()).with_context(|| format!("cannot write {}", self.asked.display()))?;
        }
        Ok(())
    }

    /// With what the next plugin is armed.
    pub fn of_plugin(&self) -> Result<Option<String>> {
        let more = self.stops()?.len() < self.wanted;
        Ok(self.plugin.clone().filter(|_| more))
    }

    /// Whether a process has stopped since the draw began.
    pub fn has_stopped(&self) -> Result<bool> {
        Ok(!self.stops()?.is_empty())
    }

    /// Whether the agent has stopped since this was asked last. One that has done so often enough is not armed any more.
    pub fn agent_has_stopped(&mut self) -> Result<bool> {
        let stops = self.stops()?.iter().filter(|point| !point.starts_with(fault::PLUGIN)).count();
        let anew = stops > self.known;
        self.known = stops;
        if anew && stops >= self.wanted {
            self.disarm()?;
        }
        Ok(anew)
    }

    /// From here on the agent stops nowhere.
    pub fn disarm(&self) -> Result<()> {
        let emptied = File::options().write(true).open(&self.asked).and_then(|file| {
            file.lock()?;
            file.set_len(0)?;
            fs::remove_file(&self.asked)
        });
        match emptied {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot empty {}", self.asked.display()))
            }
            _ => Ok(()),
        }
    }

    /// Whether a process has passed a point since the trace was taken last.
    pub fn has_passed(&self, point: &str) -> bool {
        fs::read_to_string(&self.trace).is_ok_and(|trace| trace.lines().any(|passed| passed == point))
    }

    /// The points that were passed since this was taken last, a line each.
    pub fn take_trace(&self) -> String {
        let passed = fs::read_to_string(&self.trace).unwrap_or_default();
        // Written with O_APPEND: what comes next begins at the new end.
        let _ = File::create(&self.trace);
        passed
    }

    fn stops(&self) -> Result<Vec<String>> {
        match fs::read_to_string(&self.hit) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => bail!("{}: {error}", self.hit.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(point: &str) -> Draw {
        Draw::parse(Some(point), "| agent").unwrap()
    }

    fn stop(armed: &Armed, points: &[&str]) {
        let lines: String = points.iter().map(|point| format!("{point}\n")).collect();
        fs::write(&armed.hit, lines).unwrap();
    }

    #[test]
    fn an_agent_is_armed_until_it_has_stopped_often_enough() {
        let folder = tempfile::tempdir().unwrap();
        let mut armed = Armed::in_folder(folder.path());
        armed.arm(&draw("ledger.append.written:3*2")).unwrap();
        assert_eq!(armed.of_plugin().unwrap(), None);
        let asked = || fs::read_to_string(folder.path().join("fault")).ok();
        assert!(!armed.agent_has_stopped().unwrap() && !armed.has_stopped().unwrap());
        stop(&armed, &["ledger.append.written"]);
        assert!(armed.agent_has_stopped().unwrap());
        assert!(!armed.agent_has_stopped().unwrap(), "it is told once");
        assert_eq!(asked().as_deref(), Some("ledger.append.written:3"));
        stop(&armed, &["ledger.append.written"; 2]);
        assert!(armed.agent_has_stopped().unwrap());
        assert_eq!(asked(), None);
        armed.arm(&draw("ledger.append.written")).unwrap();
        assert!(!armed.has_stopped().unwrap(), "an earlier draw's stops are forgotten");
        armed.disarm().unwrap();
        armed.disarm().unwrap();
        assert_eq!(asked(), None);
    }

    #[test]
    fn a_plugin_that_stopped_is_no_agent() {
        let folder = tempfile::tempdir().unwrap();
        let mut armed = Armed::in_folder(folder.path());
        armed.arm(&draw("plugin.answer.before")).unwrap();
        assert_eq!(armed.of_plugin().unwrap().as_deref(), Some("plugin.answer.before:1"));
        assert!(!folder.path().join("fault").exists());
        stop(&armed, &["plugin.answer.before"]);
        assert!(!armed.agent_has_stopped().unwrap());
        assert!(armed.has_stopped().unwrap());
        assert_eq!(armed.of_plugin().unwrap(), None);
    }
}
