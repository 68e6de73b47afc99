//! What is given, in which order, and what is said when nothing is left.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use proptest::prelude::*;

use super::freed::Record;
use super::{Freed, Ipam, IpamError, LONGEST_WAIT, gateway};

/// Gives addresses back of which nobody was told.
fn release(ipam: &mut Ipam, addresses: &[IpAddr]) {
    ipam.free(addresses, Freed { sequence: 0, at: Instant::now() });
}

fn cidrs(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().expect("a prefix")).collect()
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn next(ipam: &mut Ipam) -> String {
    let given = ipam.allocate(&[], Instant::now()).expect("an address is left");
    given.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_gateway_is_the_first_address() {
    let gateways = cidrs(&["10.10.1.0/24", "10.10.1.7/24", "fd00:10:0:1::/64", "10.0.0.4/32", "10.0.0.4/31"]);
    let gateways = gateways.iter().map(|cidr| gateway(cidr).to_string()).collect::<Vec<_>>();
    assert_eq!(gateways, ["10.10.1.1", "10.10.1.1", "fd00:10:0:1::1", "10.0.0.4", "10.0.0.5"]);
}

#[test]
fn a_dual_stack_node_gives_one_of_each() {
    let mut ipam = Ipam::new(&cidrs(&["fd00:10:0:1::/64", "10.10.1.0/24"]));
    assert_eq!(next(&mut ipam), "10.10.1.2 fd00:10:0:1::2");
    assert_eq!(next(&mut ipam), "10.10.1.3 fd00:10:0:1::3");
}

#[test]
fn what_was_freed_comes_last_and_in_order() {
    let mut ipam = Ipam::new(&cidrs(&["10.0.0.0/29"])); // pods: .2 to .6
    for expected in ["10.0.0.2", "10.0.0.3", "10.0.0.4"] {
        assert_eq!(next(&mut ipam), expected);
    }
    release(&mut ipam, &[address("10.0.0.3")]);
    release(&mut ipam, &[address("10.0.0.2")]);
    release(&mut ipam, &[address("10.0.0.2")]);
    let order = (0..4).map(|_| next(&mut ipam)).collect::<Vec<_>>();
    assert_eq!(order, ["10.0.0.5", "10.0.0.6", "10.0.0.3", "10.0.0.2"]);
    let error = ipam.allocate(&[], Instant::now()).expect_err("all are held");
    assert_eq!(
        error.to_string(),
        "no IPv4 address is left in 10.0.0.0/29: 5 are held by pods of this node, 0 are free again and wait until no node maps \
         them any more; add a pod CIDR or remove pods"
    );
}

#[test]
fn a_restart_goes_on_behind_what_is_attached() {
    let mut ipam = Ipam::new(&cidrs(&["10.0.0.0/29"]));
    ipam.hold(address("10.0.0.4"));
    ipam.hold(address("10.0.0.2"));
    ipam.hold(address("192.0.2.1"));
    let order = (0..3).map(|_| next(&mut ipam)).collect::<Vec<_>>();
    assert_eq!(order, ["10.0.0.5", "10.0.0.6", "10.0.0.3"]);
}

#[test]
fn a_second_range_of_a_family_is_used_when_the_first_is_full() {
    let mut ipam = Ipam::new(&cidrs(&["10.0.0.0/30", "10.0.1.0/30"]));
    assert_eq!([next(&mut ipam), next(&mut ipam)], ["10.0.0.2", "10.0.1.2"]);
    let error = ipam.allocate(&[], Instant::now()).expect_err("both are full");
    assert!(
        matches!(&error, IpamError::Exhausted { held: 2, ranges, .. } if ranges == "10.0.0.0/30, 10.0.1.0/30"),
        "{error}"
    );
    ipam.set_pod_cidrs(&cidrs(&["10.0.0.0/30", "10.0.2.0/24", "10.0.1.0/30"]));
    assert_eq!(next(&mut ipam), "10.0.2.2");
}

#[test]
fn one_family_without_room_gives_nothing_of_the_other() {
    let mut ipam = Ipam::new(&cidrs(&["10.0.0.0/24", "fd00::/127"]));
    let error = ipam.allocate(&[], Instant::now()).expect_err("there is no IPv6 address");
    assert!(matches!(error, IpamError::Exhausted { family: "IPv6", held: 0, .. }), "{error}");
    ipam.set_pod_cidrs(&cidrs(&["10.0.0.0/24"]));
    let order = (0..253).map(|_| next(&mut ipam)).collect::<BTreeSet<_>>();
    assert_eq!(order.len(), 253, "also the one that was tried is given");
    assert_eq!(Ipam::new(&[]).allocate(&[], Instant::now()), Err(IpamError::NoRange));
}

#[test]
fn a_request_is_honoured_where_it_can_be() {
    let mut ipam = Ipam::new(&cidrs(&["10.0.0.0/24", "fd00::/64"]));
    let wanted = [address("fd00::7"), address("192.0.2.1"), address("10.0.0.9")];
    assert_eq!(ipam.allocate(&wanted, Instant::now()), Ok(vec![address("10.0.0.9"), address("fd00::7")]));
    assert_eq!(
        ipam.allocate(&wanted, Instant::now()),
        Ok(vec![address("10.0.0.10"), address("fd00::8")]),
        "they are held now"
    );
    let reserved = ["10.0.0.0", "10.0.0.1", "10.0.0.255", "fd00::", "fd00::1"].map(address);
    assert_eq!(ipam.allocate(&reserved, Instant::now()), Ok(vec![address("10.0.0.11"), address("fd00::9")]));
}

#[test]
fn a_freed_address_waits_until_it_is_released() {
    let start = Instant::now();
    let mut ipam = Ipam::new(&cidrs(&["10.0.0.0/30", "10.0.0.4/30"])); // pods: .2 and .6
    assert_eq!([next(&mut ipam), next(&mut ipam)], ["10.0.0.2", "10.0.0.6"]);
    ipam.free(&[address("10.0.0.2")], Freed { sequence: 7, at: start });
    ipam.free(&[address("10.0.0.6")], Freed { sequence: 8, at: start });
    for _ in 0..2 {
        let error = ipam.allocate(&[address("10.0.0.2")], start).expect_err("also one that is asked for waits");
        let part =
            "0 are held by pods of this node, 2 are free again and wait until no node maps them any more; try again";
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(ipam.room(start), Err(error));
    }
    ipam.released(6);
    assert_eq!(ipam.waiting(), 2);
    ipam.released(7);
    assert_eq!((ipam.waiting(), ipam.room(start)), (1, Ok(())));
    assert_eq!(ipam.allocate(&[], start), Ok(vec![address("10.0.0.2")]));
    assert!(ipam.allocate(&[], start + LONGEST_WAIT - Duration::from_millis(1)).is_err());
    assert_eq!(
        ipam.allocate(&[], start + LONGEST_WAIT),
        Ok(vec![address("10.0.0.6")]),
        "no controller answers for ever"
    );
}

#[test]
fn room_is_told_without_taking_any() {
    let mut ipam = Ipam::new(&cidrs(&["10.0.0.0/29", "fd00::/64"]));
    for expected in ["10.0.0.2 fd00::2", "10.0.0.3 fd00::3"] {
        assert_eq!(ipam.room(Instant::now()), Ok(()));
        assert_eq!(next(&mut ipam), expected);
    }
    assert_eq!(Ipam::new(&[]).room(Instant::now()), Err(IpamError::NoRange));
}

proptest! {
    /// Any sequence of taking and giving back: nobody gets a held or reserved address, all are given in the end, and among freed
    /// ones the oldest first.
    #[test]
    fn least_recently_freed_first(steps in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut ipam = Ipam::new(&cidrs(&["10.0.0.0/28"]));
        let mut held: Vec<IpAddr> = Vec::new();
        let mut freed: Vec<IpAddr> = Vec::new();
        for step in steps {
            if step % 3 == 0 && !held.is_empty() {
                let back = held.swap_remove(usize::from(step) % held.len());
                release(&mut ipam, &[back]);
                freed.push(back);
            } else {
                match ipam.allocate(&[], Instant::now()) {
                    Ok(given) => {
                        let [given] = given[..] else { panic!("one family: {given:?}") };
                        prop_assert!(!held.contains(&given) && (2..=14).contains(&given.to_string()[7..].parse::<u8>().expect("a number")));
                        if let Some(place) = freed.iter().position(|each| *each == given) {
                            prop_assert_eq!(place, 0, "{} was freed after {:?}", given, freed);
                            freed.remove(0);
                        }
                        held.push(given);
                    }
                    Err(_) => prop_assert_eq!(held.len(), 13),
                }
            }
        }
    }
}

/// What an earlier life of the agent had written down; `clock` is when it started.
const STARTED: u64 = 1_000_000_000;

fn record(others: u64, last: &[(&str, u64)]) -> Record {
    Record { others, last: last.iter().map(|(text, time)| (address(text), *time)).collect() }
}

#[test]
fn what_an_earlier_life_freed_comes_last_and_waits() {
    let now = Instant::now();
    let just_now = STARTED - 1000;
    for known_before in [true, false] {
        let cidrs = cidrs(&["10.0.0.0/29"]); // pods: .2 to .6
        let mut ipam = Ipam::new(if known_before { &cidrs } else { &[] });
        ipam.hold(address("10.0.0.4"));
        let freed = [("10.0.0.4", 1), ("10.0.0.5", 2), ("10.0.0.2", just_now), ("10.0.0.6", just_now)];
        ipam.restore(&record(0, &freed), 7, now, STARTED);
        ipam.set_pod_cidrs(&cidrs);
        assert_eq!(next(&mut ipam), "10.0.0.3", "never freed as far as it is known");
        assert_eq!(next(&mut ipam), "10.0.0.5", "freed long ago");
        let error = ipam.allocate(&[], now).expect_err("two wait");
        assert!(matches!(error, IpamError::Exhausted { held: 3, waiting: 2, .. }), "{error}");
        assert!(ipam.allocate(&[address("10.0.0.2")], now).is_err(), "also for who asks for it");
        ipam.released(6);
        assert!(ipam.allocate(&[], now).is_err());
        ipam.released(7);
        assert_eq!((next(&mut ipam), next(&mut ipam)), ("10.0.0.2".to_owned(), "10.0.0.6".to_owned()));
    }
}

#[test]
fn with_nothing_written_down_everything_waits_but_not_for_ever() {
    let now = Instant::now();
    let lost = || {
        let mut ipam = Ipam::new(&cidrs(&["10.0.0.0/29", "fd00::/64"]));
        ipam.hold(address("10.0.0.2"));
        ipam.restore(&Record::lost(STARTED), 1, now, STARTED);
        let error = ipam.allocate(&[], now).expect_err("every address may be mapped somewhere");
        assert!(matches!(error, IpamError::Exhausted { held: 1, waiting: 4, .. }), "{error}");
        assert!(ipam.room(now).is_err());
        ipam
    };
    let mut released = lost();
    released.released(1);
    released.room(now).expect("released");
    assert_eq!(next(&mut released), "10.0.0.3 fd00::2");
    let mut alone = lost();
    alone.room(now + LONGEST_WAIT).expect("without a controller that takes a minute");
    assert!(alone.allocate(&[], now + LONGEST_WAIT).is_ok());
    // A clock that was set back makes nothing wait for longer.
    let mut ipam = Ipam::new(&cidrs(&["10.0.0.0/29"]));
    ipam.restore(&Record::lost(STARTED + 1_000_000), 1, now, STARTED);
    assert!(ipam.allocate(&[], now).is_err() && ipam.allocate(&[], now + LONGEST_WAIT).is_ok());
}
