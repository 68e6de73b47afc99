//! A node's certificate, renewed while the agent runs, over the stream that it has; and files that are wrong meanwhile.
#![allow(clippy::unwrap_used)]

mod several;

use std::time::Duration;

use agent::watch::certificate::{Access, Certificate};
use certificates::{Acceptor, Authority, Identity, Role, Validity};
use several::{Following, Server, World, until};

#[tokio::test]
async fn a_certificate_is_renewed_over_the_stream_which_goes_on_and_shown_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, own) = (folder.path().join("ca"), folder.path().join("own"));
    Authority::create(&ca).unwrap();
    let authority = Authority::open(&ca).unwrap();
    let node = Role::Node("node-a".to_owned());
    let first = authority.issue_to(&own, &node, Validity::from_now(Duration::from_secs(4))).unwrap();
    let world = World::new(1).with("shop");
    let acceptor = Acceptor::new(authority, Duration::from_secs(3600)).unwrap();
    let servers = [Server::start_over_tls(world.clone(), acceptor).await];
    let access = Access::Certificates(Certificate::open(&own, "node-a").unwrap());
    let agent = Following::start_with(&servers, access).await;
    agent.has(&world).await;

    let renewed = || Identity::read(&own).unwrap().validity().until > first.validity().until;
    until("the renewal", renewed).await;
    until("the first certificate's end", || first.validity().is_over()).await;
    let world = world.with("after").at(2);
    servers[0].knows(world.clone());
    agent.has(&world).await;
    assert_eq!(servers[0].streams_opened(), 1, "the stream has gone on");

    // Whoever connects now with the first one is refused.
    servers[0].break_streams();
    until("another stream", || servers[0].streams_opened() == 2).await;
    let world = world.with("later").at(3);
    servers[0].knows(world.clone());
    agent.has(&world).await;

    // Half a file: what was read before stays in force.
    let path = own.join("identity.pem");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    servers[0].break_streams();
    until("a third stream", || servers[0].streams_opened() == 3).await;
    let world = world.with("last").at(4);
    servers[0].knows(world.clone());
    agent.has(&world).await;
}
