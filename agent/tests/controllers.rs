//! An agent and several controllers: it takes from the newest, never goes back, and changing controllers costs the difference.
//!
//! The controllers are served in this process, over real connections; what they know is what a test lets them know.
#![allow(clippy::unwrap_used)]

mod several;

use std::time::{Duration, Instant};

use several::{Following, Server, World, until};

/// Whoever is taken from, and the others.
async fn taken(servers: &[Server]) -> (usize, Vec<usize>) {
    until("a Take", || servers.iter().any(Server::is_taken_from)).await;
    let taken = servers.iter().position(Server::is_taken_from).unwrap();
    (taken, (0..servers.len()).filter(|index| *index != taken).collect())
}

fn namespaces(count: usize) -> World {
    (0..count).fold(World::new(1), |world, number| world.with(&format!("n{number}")))
}

#[tokio::test]
async fn one_is_taken_from_and_all_are_reported_to() {
    let world = namespaces(10);
    let servers = [Server::start(world.clone()).await, Server::start(world.clone()).await];
    let agent = Following::start(&servers).await;
    agent.has(&world).await;
    let (taken, others) = taken(&servers).await;
    agent.report("web", "10.0.0.1");
    for server in &servers {
        until("the report", || server.reports() == ["shop/web"]).await;
    }
    // The other gets to know what the agent has and what its switch obeys.
    agent.obeys_what_it_has();
    let other = &servers[others[0]];
    until("the head to be acknowledged", || other.acknowledged_head() == other.head()).await;
    until("the head to be realised", || other.realised_head() == other.head()).await;
    assert_eq!((servers[taken].frames_sent(), other.frames_sent()), (1, 0));
}

#[tokio::test]
async fn one_that_is_killed_costs_the_difference() {
    let world = namespaces(1000);
    let mut servers = vec![Server::start(world.clone()).await, Server::start(world.clone()).await];
    let agent = Following::start(&servers).await;
    agent.has(&world).await;
    let (first, others) = taken(&servers).await;
    agent.takes_from(Some(&servers[first])).await;
    let newer = world.clone().with("late").without("n7").at(2);
    servers[others[0]].knows(newer.clone());
    let start = Instant::now();
    servers.remove(first).kill();
    agent.has(&newer).await;
    let took = start.elapsed();
    agent.takes_from(Some(&servers[0])).await;
    let changes = servers[0].changes_sent();
    assert_eq!(changes, 2, "one that came and one that went, of a thousand");
    assert!(agent.replaced() == 1, "only the first frame replaced everything");
    assert!(took < Duration::from_secs(5), "a killed controller is noticed at once, not after {took:?}");
}

#[tokio::test]
async fn one_that_is_paused_is_left_once_another_is_newer() {
    let world = namespaces(10);
    let servers = [Server::start(world.clone()).await, Server::start(world.clone()).await];
    let agent = Following::start(&servers).await;
    agent.has(&world).await;
    let (paused, others) = taken(&servers).await;
    servers[paused].pause(true);
    let newer = world.clone().with("late").at(2);
    servers[others[0]].knows(newer.clone());
    agent.has(&newer).await;
    agent.takes_from(Some(&servers[others[0]])).await;
    // It comes back with what it knew: nothing is taken back, and it is heard again once it knows more.
    servers[paused].pause(false);
    servers[paused].knows(world.clone().with("later").at(3));
    agent.has(&world.with("later").at(3)).await;
    agent.never_went_back();
}

#[tokio::test]
async fn one_that_lags_is_not_taken_from_even_when_it_is_alone() {
    let world = namespaces(10).at(10);
    let lagging = World::new(3).with("old");
    let mut servers = vec![Server::start(lagging.clone()).await, Server::start(world.clone()).await];
    let agent = Following::start(&servers).await;
    agent.has(&world).await;
    servers.pop().unwrap().kill();
    agent.takes_from(None).await;
    // At the start it may have been the first to answer.
    let before = servers[0].frames_sent();
    // Its heads come and are too old.
    servers[0].knows(lagging.clone().with("older").at(4));
    until("the newer head", || servers[0].head() == 4).await;
    servers[0].knows(lagging.with("oldest").at(9));
    until("the newer head", || servers[0].head() == 9).await;
    assert_eq!(servers[0].frames_sent(), before);
    agent.has(&world).await;
    servers[0].knows(world.clone().with("caught-up").at(11));
    agent.has(&world.with("caught-up").at(11)).await;
    agent.never_went_back();
}

#[tokio::test]
async fn a_frame_older_than_what_was_accepted_is_refused_whatever_the_head_says() {
    let world = namespaces(10).at(10);
    let mut servers = vec![Server::start(world.clone()).await];
    let agent = Following::start(&servers).await;
    agent.has(&world).await;
    let liar = Server::start(World::new(3).with("old")).await;
    liar.claims(99);
    let agent = agent.restart(&[&liar]).await;
    servers.pop().unwrap().kill();
    until("a frame", || liar.frames_sent() > 0).await;
    until("the Take to end", || !liar.is_taken_from()).await;
    agent.has(&world).await;
    agent.never_went_back();
}

#[tokio::test]
async fn both_start_at_once_and_the_newer_is_taken_from() {
    let (old, new) = (namespaces(5).at(1), namespaces(6).at(2));
    let servers = [Server::start_silent().await, Server::start_silent().await];
    let agent = Following::start(&servers).await;
    // Until a source has been in sync, its controller says nothing and is not taken from.
    until("both streams", || servers.iter().all(Server::is_connected)).await;
    servers[0].knows(old);
    servers[1].knows(new.clone());
    agent.has(&new).await;
    agent.never_went_back();
}

#[tokio::test]
async fn what_a_node_reported_is_not_taken_back() {
    let (before, after) = (namespaces(5).node("node-b", 1, 7), namespaces(5).with("b").node("node-b", 1, 9));
    let mut servers = vec![Server::start(before.clone()).await, Server::start(after.clone()).await];
    let agent = Following::start(&servers).await;
    agent.has(&after).await;
    servers.pop().unwrap().kill();
    agent.takes_from(None).await;
    // A later life of that node's agent counts anew; an earlier one is over.
    servers[0].knows(before.clone().node("node-b", 0, 99));
    agent.has(&after).await;
    let anew = before.with("anew").node("node-b", 2, 1);
    servers[0].knows(anew.clone());
    agent.has(&anew).await;
    agent.never_went_back();
}

#[tokio::test]
async fn an_agent_that_comes_back_is_told_the_difference() {
    let world = namespaces(500);
    let servers = vec![Server::start(world.clone()).await];
    let agent = Following::start(&servers).await;
    agent.has(&world).await;
    let newer = world.with("meanwhile").at(2);
    servers[0].knows(newer.clone());
    agent.has(&newer).await;
    let sent = servers[0].changes_sent();
    let agent = agent.restart(&servers.iter().collect::<Vec<_>>()).await;
    let newest = newer.with("after").at(3);
    servers[0].knows(newest.clone());
    agent.has(&newest).await;
    assert_eq!((servers[0].changes_sent() - sent, agent.replaced()), (1, 0));
}

#[tokio::test]
async fn what_is_released_is_heard_from_whoever_says_it_first() {
    let servers = [Server::start(namespaces(1)).await, Server::start(namespaces(1)).await];
    let agent = Following::start(&servers).await;
    until("both streams", || servers.iter().all(Server::is_connected)).await;
    servers[0].releases(5);
    agent.released(5).await;
    servers[1].releases(4);
    servers[1].releases(8);
    agent.released(8).await;
}
