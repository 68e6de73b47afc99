//! Wrong certificates: flags of the command that makes them, and files that are not what they should be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Found;
use super::flags::{changed, refused};
use crate::lab::{Authority, Binaries};

/// Makes a file wrong.
type Wreck = fn(&Path) -> std::io::Result<()>;

/// Makes a right CA (`ca`) and a right node's certificate (`node-a`) in a folder, and gives everything that is wrong.
pub(super) fn run(found: &mut Found, binaries: &Binaries, folder: &Path) -> Result<()> {
    let text = |path: &Path| path.display().to_string();
    let (ca, node, out) = (folder.join("ca"), folder.join("node-a"), text(&folder.join("out")));
    let file = text(&folder.join("a-file"));
    let authority = Authority::create(&binaries.controller, ca.clone())?;
    authority.issue_node("node-a", &node)?;
    let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();

    let (ca_text, node_text) = (text(&ca), text(&node));
    let right = ["certificates", "issue", "--certificates", &ca_text, "--node", "node-a", "--out", &out];
    for (flag, value) in [
        ("--node", "Node_A"),
        ("--node", ""),
        ("--node", "a/../b"),
        ("--out", file.as_str()),
        ("--out", ca_text.as_str()),
        ("--certificates", "/no/such/folder"),
        ("--certificates", node_text.as_str()),
        ("--lifetime", "forever"),
        ("--lifetime", "0s"),
        ("--lifetime", "99999d"),
        ("--client", "ann"),
    ] {
        refused(found, &binaries.controller, &changed(&right, flag, value), &[flag, value])?;
    }
    for (words, names) in [
        (["certificates", "create", "--certificates", &file].as_slice(), file.as_str()),
        (&["certificates", "create"], "--certificates"),
        (&["certificates", "issue", "--certificates", &ca_text, "--out", &out], "--node"),
        (&["certificates", "destroy"], "destroy"),
        (&["certificates"], "certificates"),
    ] {
        refused(found, &binaries.controller, &owned(words), &[names])?;
    }
    asking(found, binaries, [&node_text, &file, &ca_text])?;
    ensure!(!Path::new(&out).exists(), "a wrong command has written {out}");
    files(found, binaries, folder, &ca, &node)?;
    // The right command, at the end: it would have been noticed.
    let issued = Command::new(&binaries.controller).args(right).output().context("cannot run the controller")?;
    ensure!(issued.status.success(), "the control is refused: {}", String::from_utf8_lossy(&issued.stderr));
    Ok(())
}

/// What antctl is told of a server and of a certificate.
fn asking(found: &mut Found, binaries: &Binaries, [node, file, ca]: [&str; 3]) -> Result<()> {
    let right = ["get", "controllerinfo", "--server", "https://127.0.0.1:1", "--certificates", node];
    for (flag, value) in [
        ("--server", "http://127.0.0.1:1"),
        ("--server", "127.0.0.1:1"),
        ("--server", "https://127.0.0.1"),
        ("--certificates", "/no/such/folder"),
        ("--certificates", file),
        ("--certificates", ca),
    ] {
        refused(found, &binaries.antctl, &changed(&right, flag, value), &[flag, value])?;
    }
    refused(
        found,
        &binaries.antctl,
        &right[..4].iter().map(|&word| word.to_owned()).collect::<Vec<_>>(),
        &["--certificates"],
    )
}

/// Each file broken in each way, for the daemon that reads it.
fn files(found: &mut Found, binaries: &Binaries, folder: &Path, ca: &Path, node: &Path) -> Result<()> {
    let text = |path: &Path| path.display().to_string();
    let (own, broken) = (text(folder), folder.join("broken"));
    let ways: [(&str, Wreck); 6] = [
        ("removed", |path| fs::remove_file(path)),
        ("empty", |path| fs::write(path, "")),
        ("garbage", |path| fs::write(path, "garbage")),
        ("binary", |path| fs::write(path, [0xff; 4096])),
        ("half", |path| fs::write(path, fs::read(path).map(|bytes| bytes[..bytes.len() / 2].to_vec())?)),
        ("a folder", |path| fs::remove_file(path).and_then(|()| fs::create_dir(path))),
    ];
    for (from, name) in [(ca, "ca.crt"), (ca, "ca.key"), (node, "ca.crt"), (node, "identity.pem")] {
        for (way, wreck) in ways {
            copy(from, &broken)?;
            wreck(&broken.join(name)).with_context(|| format!("cannot make {name} {way}"))?;
            start(found, binaries, from == ca, &own, &broken, name)?;
        }
    }
    for (from, name) in [(ca, "ca.key"), (node, "identity.pem")] {
        copy(from, &broken)?;
        fs::set_permissions(broken.join(name), fs::Permissions::from_mode(0o644))?;
        start(found, binaries, from == ca, &own, &broken, "chmod 600")?;
    }
    Ok(())
}

/// Starts the daemon that reads the folder; it must say what is wrong and end.
fn start(
    found: &mut Found,
    binaries: &Binaries,
    controller: bool,
    own: &str,
    broken: &Path,
    names: &str,
) -> Result<()> {
    let broken = broken.display().to_string();
    // A CA's folder without its certificate has no CA, and is named.
    let names = [names, broken.as_str()];
    let socket = format!("{own}/controller.sock");
    let flags: Vec<&str> = if controller {
        vec![
            "--source",
            own,
            "--status",
            "/tmp",
            "--listen",
            "127.0.0.1:0",
            "--serve",
            &socket,
            "--certificates",
            &broken,
        ]
    } else {
        let common = ["--node", "node-a", "--controller", "https://127.0.0.1:1", "--datapath", "netdev"];
        let places = ["--run-dir", own, "--ovsdb", &socket, "--ovs-run-dir", own, "--vswitchd-ctl", &socket];
        common.into_iter().chain(places).chain(["--certificates", &broken]).collect()
    };
    let flags: Vec<String> = flags.into_iter().map(str::to_owned).collect();
    refused(found, if controller { &binaries.controller } else { &binaries.agent }, &flags, &names)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(to);
    fs::create_dir(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))
            .with_context(|| format!("cannot copy to {}", to.display()))?;
    }
    Ok(())
}
