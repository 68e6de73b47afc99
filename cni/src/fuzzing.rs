//! What the plugin reads, for the fuzzer: environment and standard input as a runtime gives them, an answer as an agent gives it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use apis::cni::{Command, NetworkConfiguration, SpecVersion, version_document};

/// `NAME=value` lines, a zero byte, standard input; another zero byte first: an agent's answer.
pub fn plugin(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (environment, input) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if environment.is_empty()
        && let Some(answer) = input.strip_prefix(b"\0")
    {
        crate::agent::fuzzing::answer(answer);
        return;
    }
    let variables: Vec<(&[u8], &[u8])> = environment
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.iter().position(|byte| *byte == b'=').map(|at| (&line[..at], &line[at + 1..])))
        .collect();
    let variable = |name: &str| {
        let found = variables.iter().find(|(held, _)| *held == name.as_bytes());
        found.map(|(_, value)| OsString::from_vec(value.to_vec()))
    };
    let version = SpecVersion::of_input(input);
    let _ = version_document(version).to_string();
    let configuration = NetworkConfiguration::parse(input);
    if let Ok(configuration) = &configuration {
        let _ = configuration.refuse_unsupported();
        let _ = configuration.previous_result();
        let _ = configuration.valid_attachments();
    }
    match (Command::parse(variable), &configuration) {
        (Ok(Command::Add(attach)), Ok(configuration)) => _ = configuration.requested(&attach.pod),
        (Ok(command), _) => _ = command.refuse_before(version),
        (Err(error), _) => _ = error.document(version).to_string(),
    }
    if let Err(error) = configuration {
        let _ = error.document(version).to_string();
    }
}
