//! What the kernel tells of the host's changes reaches the loop, however busy that is, and a burst as one.

#[allow(dead_code, reason = "this test needs a namespace and nothing that passes between two")]
mod place;

use agent::event::Event;
use agent::watch::host;
use place::Place;
use tokio::sync::mpsc;

/// What sockets of this namespace hold and nobody has read, in bytes (`/proc/net/netlink`, Rmem).
fn unread() -> u64 {
    let table = std::fs::read_to_string("/proc/thread-self/net/netlink").expect("the kernel tells");
    let rmem = |line: &str| line.split_whitespace().nth(4).and_then(|field| field.parse::<u64>().ok());
    table.lines().skip(1).map(|line| rmem(line).expect("its fifth column is Rmem")).sum()
}

/// Waits until all is read.
async fn all_is_read() {
    while unread() > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}

fn ip(arguments: &str) {
    let status = std::process::Command::new("ip").args(arguments.split(' ')).status().expect("ip is installed");
    assert!(status.success(), "ip {arguments}");
}

async fn touched(events: &mut mpsc::Receiver<Event>) {
    let event = tokio::time::timeout(std::time::Duration::from_secs(30), events.recv()).await;
    assert!(matches!(event, Ok(Some(Event::HostTouched))), "{event:?}");
}

#[test]
fn a_change_is_told_although_the_inbox_is_full() {
    Place::new().block_on(|| async {
        let (sender, mut events) = mpsc::channel(1);
        host::follow(&sender).expect("the kernel gives sockets");
        sender.send(Event::Tick).await.expect("there is room for one");
        ip("address add 10.0.0.1/32 dev lo");
        all_is_read().await;
        assert!(matches!(events.recv().await, Some(Event::Tick)));
        touched(&mut events).await;
    });
}

#[test]
fn a_burst_is_told_as_few_changes() {
    Place::new().block_on(|| async {
        let (sender, mut events) = mpsc::channel(256);
        host::follow(&sender).expect("the kernel gives sockets");
        (1..100).for_each(|number| ip(&format!("address add 10.0.0.{number}/32 dev lo")));
        touched(&mut events).await;
        all_is_read().await;
        assert!(events.len() < 10, "told {} times", events.len());
    });
}
