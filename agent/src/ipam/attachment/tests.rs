//! From request to plan to result, and back from OVSDB.

use std::collections::BTreeMap;

use apis::cni::{AddRequest, CniError, ConfirmRequest, DelRequest, ErrorCode, MacAddress, Plan};

use super::{Attachment, Attachments, FIRST_PORT, PodNetwork};

/// The time of every plan here, in milliseconds since 1970.
const CLOCK: u64 = 1_763_845_200_000;

fn planned(attachments: &mut Attachments, container_id: &str) -> Result<Plan, CniError> {
    attachments.plan(&request(container_id), CLOCK)
}

fn network(pod_cidrs: &[&str]) -> PodNetwork {
    PodNetwork {
        pod_cidrs: pod_cidrs.iter().map(|text| text.parse().expect("a prefix")).collect(),
        gateway_mac: MacAddress([0x0a, 0, 0, 0, 0, 1]),
        mtu: 1450,
        transmit_checksum_offload: false,
    }
}

fn request(container_id: &str) -> AddRequest {
    AddRequest {
        container_id: container_id.into(),
        interface: "eth0".into(),
        network_namespace: "/run/netns/x".into(),
        network: "ferrant".into(),
        pod_namespace: "shop".into(),
        pod_name: "web".into(),
        pod_uid: None,
        requested_addresses: Vec::new(),
        requested_mac: None,
    }
}

fn confirm(container_id: &str) -> ConfirmRequest {
    ConfirmRequest { container_id: container_id.into(), interface: "eth0".into() }
}

fn delete(container_id: &str) -> DelRequest {
    DelRequest { container_id: container_id.into(), interface: "eth0".into() }
}

#[test]
fn a_pod_is_planned_confirmed_and_removed() {
    let mut attachments = Attachments::new(network(&["10.10.1.0/24", "fd00:10:0:1::/64"]));
    let plan = planned(&mut attachments, "c1").expect("there is room");
    assert_eq!(planned(&mut attachments, "c1"), Ok(plan.clone()), "asked again");
    assert_eq!(attachments.attached().count(), 0, "reserved is not attached");
    let shown = plan.addresses.iter().map(|each| format!("{} {}", each.address, each.gateway)).collect::<Vec<_>>();
    assert_eq!(shown, ["10.10.1.2/32 10.10.1.1", "fd00:10:0:1::2/128 fd00:10:0:1::1"]);
    let shown = plan.routes.iter().map(|each| format!("{} {}", each.destination, each.gateway)).collect::<Vec<_>>();
    assert_eq!(shown, ["0.0.0.0/0 10.10.1.1", "::/0 fd00:10:0:1::1"]);
    assert_eq!((plan.mtu, plan.transmit_checksum_offload), (1450, false));

    let (attachment, result) = attachments.confirm(&confirm("c1")).expect("it was planned");
    assert_eq!(attachments.attached().collect::<Vec<_>>(), [&attachment]);
    assert_eq!(result.interfaces[0].sandbox.as_deref(), Some("/run/netns/x"));
    assert_eq!((result.interfaces[1].name.as_str(), result.ips.len()), (plan.host_interface.as_str(), 2));

    assert_eq!(attachments.remove(&delete("c1"), 0), Some(attachment));
    assert_eq!(attachments.remove(&delete("c1"), 0), None);
    let next = planned(&mut attachments, "c2").expect("there is room");
    assert_eq!(next.addresses[0].address.to_string(), "10.10.1.3/32", "the freed one waits");
}

#[test]
fn what_is_attached_is_not_planned_again() {
    let mut attachments = Attachments::new(network(&["10.10.1.0/24"]));
    planned(&mut attachments, "c1").expect("there is room");
    attachments.confirm(&confirm("c1")).expect("it was planned");
    assert_eq!(planned(&mut attachments, "c1").expect_err("DEL is missing").code, ErrorCode::INVALID_ENVIRONMENT);
}

#[test]
fn a_confirmation_of_nothing_asks_to_try_again() {
    let mut attachments = Attachments::new(network(&["10.10.1.0/24"]));
    assert_eq!(attachments.confirm(&confirm("c1")).expect_err("no plan").code, ErrorCode::TRY_AGAIN_LATER);
}

#[test]
fn a_full_node_says_which_ranges_are_full() {
    let mut attachments = Attachments::new(network(&["10.10.1.0/30"]));
    planned(&mut attachments, "c1").expect("there is room");
    let error = planned(&mut attachments, "c2").expect_err("it is full");
    assert_eq!(error.code, ErrorCode::ADDRESSES_EXHAUSTED);
    assert!(error.to_string().contains("shop/web") && error.to_string().contains("10.10.1.0/30"), "{error}");
    let error = planned(&mut Attachments::new(network(&[])), "c1").expect_err("it has no range");
    assert_eq!(error.code, ErrorCode::TRY_AGAIN_LATER);
}

#[test]
fn what_is_restored_keeps_its_addresses() {
    let mut before = Attachments::new(network(&["10.10.1.0/24"]));
    planned(&mut before, "c1").expect("there is room");
    let (attachment, _) = before.confirm(&confirm("c1")).expect("it was planned");
    let read = Attachment::from_external_ids(&attachment.host_interface, &attachment.external_ids());
    assert_eq!(read, Ok(Some(attachment.clone())));

    let mut after = Attachments::new(network(&[]));
    after.restore(attachment.clone());
    after.set_network(network(&["10.10.1.0/24"]));
    assert_eq!(after.attached().collect::<Vec<_>>(), [&attachment]);
    let plan = planned(&mut after, "c2").expect("there is room");
    assert_eq!(plan.addresses[0].address.to_string(), "10.10.1.3/32");
    assert_ne!(plan.host_interface, attachment.host_interface);
}

#[test]
fn external_ids_of_others_and_wrong_ones() {
    assert_eq!(Attachment::from_external_ids("eth1", &BTreeMap::new()), Ok(None));
    let mut attachments = Attachments::new(network(&["10.10.1.0/24"]));
    planned(&mut attachments, "c1").expect("there is room");
    let ids = attachments.get("c1", "eth0").expect("it is reserved").external_ids();
    for (key, value) in [
        ("ferrant-mac", "x"),
        ("ferrant-addresses", "10.0.0.1,"),
        ("ferrant-name", ""),
        ("ferrant-namespace", "a/b"),
        ("ferrant-since", "yesterday"),
        ("ferrant-port", "-1"),
    ] {
        let mut wrong = ids.clone();
        wrong.insert(key.into(), value.into());
        let error = Attachment::from_external_ids("web-1", &wrong).expect_err(key).to_string();
        assert!(error.contains("web-1") && error.contains(key), "{error}");
    }
}

#[test]
fn of_two_attachments_of_one_pod_the_later_is_the_pod() {
    let mut before = Attachments::new(network(&["10.10.1.0/24"]));
    for container in ["c9", "c1", "c5"] {
        planned(&mut before, container).expect("there is room");
        before.confirm(&confirm(container)).expect("it was planned");
    }
    let ages = |attachments: &Attachments| {
        attachments.by_age().into_iter().map(|each| (each.container_id.clone(), each.since - CLOCK)).collect::<Vec<_>>()
    };
    let expected = [("c9".to_owned(), 0), ("c1".to_owned(), 1), ("c5".to_owned(), 2)];
    assert_eq!(ages(&before), expected, "also when the clock stands still");
    let mut after = Attachments::new(network(&["10.10.1.0/24"]));
    before.attached().cloned().for_each(|attachment| after.restore(attachment));
    assert_eq!(ages(&after), expected);
    after.plan(&request("c7"), CLOCK - 10_000).expect("there is room");
    assert_eq!(
        after.get("c7", "eth0").expect("it is planned").since,
        CLOCK + 3,
        "a clock that goes back changes no order"
    );
}

#[test]
fn ports_are_asked_for_one_after_the_other() {
    let mut attachments = Attachments::new(network(&["10.10.0.0/16"]));
    let port = |attachments: &mut Attachments, container: &str| {
        planned(attachments, container).expect("there is room");
        attachments.get(container, "eth0").and_then(|each| each.port).expect("one is free")
    };
    assert_eq!([port(&mut attachments, "c1"), port(&mut attachments, "c2")], [FIRST_PORT, FIRST_PORT + 1]);
    attachments.remove(&delete("c1"), 0);
    assert_eq!(port(&mut attachments, "c3"), FIRST_PORT + 2, "one that was given back waits");
    attachments.port = super::LAST_PORT;
    assert_eq!([port(&mut attachments, "c4"), port(&mut attachments, "c5")], [FIRST_PORT, FIRST_PORT + 3]);
}

#[test]
fn a_mac_is_given_when_it_can_be() {
    let mut attachments = Attachments::new(network(&["10.10.1.0/24"]));
    let mut given = |container: &str, mac: [u8; 6]| {
        let wanted = AddRequest { requested_mac: Some(MacAddress(mac)), ..request(container) };
        attachments.plan(&wanted, CLOCK).expect("there is room").mac
    };
    let wanted = [2, 0, 0, 0, 0, 7];
    assert_eq!(given("c1", wanted), MacAddress(wanted));
    let others = [wanted, [0x0a, 0, 0, 0, 0, 1], [1, 0, 0, 0, 0, 7], [0; 6], [0x0a, 0xfe, 0, 0, 0, 1]];
    for (number, mac) in others.into_iter().enumerate() {
        assert_ne!(given(&format!("d{number}"), mac), MacAddress(mac), "taken, the gateway's, a group's, none, a mark");
    }
}

#[test]
fn a_freed_address_waits_for_the_controller() {
    let mut attachments = Attachments::new(network(&["10.10.1.0/30"]));
    planned(&mut attachments, "c1").expect("there is room");
    attachments.confirm(&confirm("c1")).expect("it was planned");
    attachments.remove(&delete("c1"), 5);
    let error = planned(&mut attachments, "c2").expect_err("it waits");
    assert_eq!((error.code, attachments.waiting_addresses()), (ErrorCode::TRY_AGAIN_LATER, 1));
    assert!(error.details.contains("1 are free again and wait"), "{error}");
    attachments.released(5);
    planned(&mut attachments, "c2").expect("it is free");
}
