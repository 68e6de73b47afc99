//! Processes that the lab starts inside namespaces: daemons that it ends, and tools that it waits for.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Namespace;

/// A daemon of the lab; dropping it kills the process and waits for its end.
pub struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts `command` (a program and its arguments) inside `namespace`, with both outputs appended to `log`.
    pub fn start(namespace: &Namespace, name: impl Into<String>, command: &[String], log: &Path) -> Result<Self> {
        Self::start_with(namespace, name, command, &[], log)
    }

    /// Like [`Daemon::start`], with further environment variables.
    pub fn start_with(
        namespace: &Namespace,
        name: impl Into<String>,
        command: &[String],
        environment: &[(&str, String)],
        log: &Path,
    ) -> Result<Self> {
        let name = name.into();
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot open the log of {name}, {}", log.display()))?;
        let errors = output.try_clone().with_context(|| format!("cannot open the log of {name}"))?;
        // Tied to the namespace's thread, which lives as long as the namespace.
        let mut process = Command::new("setpriv");
        process.args(["--pdeathsig", "KILL", "--"]).args(command);
        process.envs(environment.iter().map(|(key, value)| (key, value)));
        process.env("NO_COLOR", "1").stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = namespace
            .run(move || process.spawn())?
            .with_context(|| format!("cannot start {name}: {}", command.join(" ")))?;
        Ok(Self { name, child, log: log.to_owned() })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Stops it where it is, or lets it go on.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        send(&self.child, signal).with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// What the lab calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// An error with the end of its log when it has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait().with_context(|| format!("cannot ask after {}", self.name))? {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}); the end of its log:\n{}", self.name, self.log_end()),
        }
    }

    /// The last lines of its log, indented.
    pub fn log_end(&self) -> String {
        end_of(&self.log).unwrap_or_else(|error| format!("    (cannot read {}: {error})", self.log.display()))
    }

    /// Kills it, as a failing machine would, and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a program inside `namespace` with `input` on its standard input; its standard output, or an error that says it all.
pub fn run(namespace: &Namespace, command: &[&str], input: &str) -> Result<String> {
    let output = run_for_output(namespace, command, &[], input)?;
    ensure!(
        output.status.success(),
        "`{}` in {} failed ({}): {}{}",
        command.join(" "),
        namespace.name(),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim_end(),
        if input.is_empty() { String::new() } else { format!("\nits input was:\n{input}") },
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program inside `namespace` and returns what it said, whether it succeeded or not.
pub fn run_for_output(
    namespace: &Namespace,
    command: &[&str],
    environment: &[(&str, String)],
    input: &str,
) -> Result<Output> {
    Tool::start(namespace, command, environment, input)?.output()
}

/// A program that runs to its end by itself. One that is dropped before goes on.
pub struct Tool {
    command: String,
    child: Child,
}

impl Tool {
    /// Starts it inside `namespace` and gives it all of its input, which is small.
    pub fn start(namespace: &Namespace, command: &[&str], environment: &[(&str, String)], input: &str) -> Result<Self> {
        let mut process = Command::new(command[0]);
        process.args(&command[1..]).envs(environment.iter().map(|(key, value)| (key, value)));
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let command = command.join(" ");
        let mut child = namespace.run(move || process.spawn())?.with_context(|| format!("cannot start `{command}`"))?;
        let mut standard_input = child.stdin.take().expect("standard input is piped");
        // A program that ends without reading its input says why in its status.
        let _ = standard_input.write_all(input.as_bytes());
        Ok(Self { command, child })
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> Result<bool> {
        let ended = self.child.try_wait().with_context(|| format!("cannot ask after `{}`", self.command))?;
        Ok(ended.is_some())
    }

    /// Stops it where it is, or lets it go on.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        send(&self.child, signal).with_context(|| format!("cannot send {signal} to `{}`", self.command))
    }

    /// What it has said when it ends.
    pub fn output(self) -> Result<Output> {
        self.child.wait_with_output().with_context(|| format!("cannot wait for `{}`", self.command))
    }
}

fn send(child: &Child, signal: Signal) -> Result<()> {
    let id = i32::try_from(child.id()).context("a process id is an i32")?;
    Ok(kill(Pid::from_raw(id), signal)?)
}

/// Runs `ip -batch` inside `namespace`: one process for a list of ip(8) commands.
pub fn ip(namespace: &Namespace, commands: &[String]) -> Result<()> {
    run(namespace, &["ip", "-batch", "-"], &(commands.join("\n") + "\n")).map(drop)
}

fn end_of(log: &Path) -> std::io::Result<String> {
    const LINES: usize = 40;
    let mut file = File::open(log)?;
    let length = fs::metadata(log)?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(8192)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(LINES)..].iter().map(|line| format!("    {line}\n")).collect())
}
