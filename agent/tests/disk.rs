//! What the agent keeps on disk, when the disk is full: nothing that is open closes, what is to close closes, and it is said.
#![allow(clippy::unwrap_used)]

mod node;

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use agent::watch::journal::Journal;
use apis::stream::Direction;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use node::frames::{endpoint, group, identity, isolation, node as a_node, posture, rule, tcp};
use node::{Node, until};
use serde_json::json;

/// A small disk in the place of a folder.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(folder: PathBuf) -> Self {
        mount(Some("tmpfs"), &folder, Some("tmpfs"), MsFlags::empty(), Some("size=512k"))
            .expect("these tests run as root");
        Self(folder)
    }

    fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).unwrap();
        // By small pieces at last, so that not a byte is left.
        for size in [4096, 64, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// A web pod here that takes TCP 80 from a client elsewhere.
fn shop() -> Vec<apis::stream::Change> {
    vec![
        a_node(1),
        a_node(2),
        posture("shop", true, false),
        identity("web", &[]),
        identity("client", &[]),
        endpoint("web", "node-a", "web", &[]),
        endpoint("client", "node-b", "client", &["10.10.2.7", "fd00:10:0:2::7"]),
        group("webs", &["web"]),
        group("clients", &["client"]),
        isolation("web-only", Direction::Ingress, "webs"),
        rule("web-only", Direction::Ingress, "webs", &["clients"], vec![tcp(80)]),
    ]
}

fn outcome(node: &Node, port: u16, web: &str) -> String {
    let answer = node.post(
        "/v1/trace",
        &json!({
            "source": {"tunnel": "node-b"}, "source_address": "10.10.2.7", "destination_address": web, "protocol": "TCP",
            "destination_port": port,
        }),
    );
    answer["outcome"].as_str().unwrap().to_owned()
}

fn epoch(node: &Node) -> u64 {
    node.get("/v1/info")["epoch"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_nothing_and_is_said() {
    let mut node = Node::start(&[]).await;
    node.kill_agent();
    let disk = SmallDisk::at(node.path("run"));
    node.start_agent().await;
    let frame = node.controller.say(shop());
    node.realised(frame).await;
    let plan = node.attach("shop", "web").await;
    let web: ipnet::IpNet = plan["addresses"][0]["address"].as_str().unwrap().parse().unwrap();
    let web = web.addr().to_string();
    assert_eq!((outcome(&node, 80, &web), outcome(&node, 81, &web)), ("Delivered".into(), "Dropped".into()));
    let first = epoch(&node);

    disk.fill();
    let more: Vec<_> = (0..400)
        .flat_map(|number| {
            let name = format!("more-{number}");
            [
                identity(&name, &[]),
                group(&name, &[&name]),
                rule(&name, Direction::Ingress, "webs", &[&name], vec![tcp(1000 + number)]),
            ]
        })
        .chain([rule("also", Direction::Ingress, "webs", &["clients"], vec![tcp(81)])])
        .collect();
    let frame = node.controller.say(more);
    node.realised(frame).await;
    assert_eq!((outcome(&node, 80, &web), outcome(&node, 81, &web)), ("Delivered".into(), "Delivered".into()));
    assert_eq!(outcome(&node, 82, &web), "Dropped");
    assert_ne!(epoch(&node), first, "numbers that could not be kept are of another epoch");
    assert!(node.log().contains("the ledger cannot be kept on disk"), "{}", node.log());
    assert_eq!(node.post("/v1/recompute", &json!(null))["differences"], json!([]));

    // A restart on the full disk: what was not kept is not believed, and what is open stays open.
    let second = epoch(&node);
    node.kill_agent();
    assert_eq!(fs::read(node.path("run/ledger.epoch")).unwrap(), [u8::try_from(second).unwrap()]);
    node.start_agent().await;
    until("the agent has its state again", || node.get("/v1/info")["frame"].is_u64()).await;
    let frame = node.controller.say(vec![rule("third", Direction::Ingress, "webs", &["clients"], vec![tcp(82)])]);
    node.realised(frame).await;
    assert_eq!((outcome(&node, 82, &web), outcome(&node, 83, &web)), ("Delivered".into(), "Dropped".into()));
    assert!(![first, second].contains(&epoch(&node)));

    // Room again: the numbers are kept, and a restart finds them.
    disk.free();
    let third = epoch(&node);
    let kept = || fs::read(node.path("run/ledger")).unwrap().get(9).copied().map(u64::from);
    until("the ledger is written", || kept() == Some(third)).await;
    node.kill_agent();
    node.start_agent().await;
    assert_eq!(epoch(&node), third);
    node.kill_agent();
    drop(disk);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_controller_said_is_kept_again_once_there_is_room() {
    let mut node = Node::start(&[]).await;
    node.kill_agent();
    let disk = SmallDisk::at(node.path("run"));
    node.start_agent().await;
    let frame = node.controller.say(shop());
    node.realised(frame).await;
    let kept = node.path("run/frames");
    assert!(kept.exists());

    disk.fill();
    // More than the last page of the file has room for.
    let frame = node.controller.say((0..400).map(|number| identity(&format!("more-{number}"), &[])).collect());
    node.realised(frame).await;
    assert!(!kept.exists(), "what is older than what was acknowledged is not believed");

    // Room again: nothing new is said, and yet a restart without any controller finds what was acknowledged.
    disk.free();
    until("it is kept again", || kept.exists()).await;
    node.kill_agent();
    node.controller.stop();
    node.start_agent().await;
    assert_eq!(node.get("/v1/info")["frame"], frame, "{}", node.log());
    node.kill_agent();
    drop(disk);
}

#[test]
fn what_cannot_be_taken_away_is_emptied() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::at(folder.path().to_owned());
    let path = folder.path().join("frames");
    let frame = |number: u64, namespace: &str| apis::stream::Frame {
        number,
        replace: number == 1,
        changes: vec![posture(namespace, true, false)],
        last: true,
        version: Some(apis::stream::Version::default()),
        take: 1,
    };
    let (mut journal, nothing) = Journal::open(&path, "node-a");
    assert!(nothing.is_none());
    journal.part(&frame(1, "a"));
    journal.commit();
    assert!(Journal::open(&path, "node-a").1.is_some());

    // A file that is mounted cannot be removed.
    mount(Some(&path), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    disk.fill();
    journal.part(&frame(2, &"b".repeat(8192)));
    journal.commit();
    umount2(&path, MntFlags::MNT_DETACH).unwrap();
    assert!(path.exists());
    assert!(Journal::open(&path, "node-a").1.is_none(), "frame 2 was acknowledged: frame 1 does not count any more");
}
