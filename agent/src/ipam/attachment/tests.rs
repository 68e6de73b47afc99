//! From request to plan to result, and back from OVSDB.

use std::collections::BTreeMap;

use apis::cni::{AddRequest, ConfirmRequest, DelRequest, ErrorCode, MacAddress};

use super::{Attachment, Attachments, PodNetwork};

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
        pod_namespace: "shop".into(),
        pod_name: "web".into(),
        pod_uid: None,
        requested_addresses: Vec::new(),
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
    let plan = attachments.plan(&request("c1")).expect("there is room");
    assert_eq!(attachments.plan(&request("c1")), Ok(plan.clone()), "asked again");
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

    assert_eq!(attachments.remove(&delete("c1")), Some(attachment));
    assert_eq!(attachments.remove(&delete("c1")), None);
    let next = attachments.plan(&request("c2")).expect("there is room");
    assert_eq!(next.addresses[0].address.to_string(), "10.10.1.3/32", "the freed one waits");
}

#[test]
fn what_is_attached_is_not_planned_again() {
    let mut attachments = Attachments::new(network(&["10.10.1.0/24"]));
    attachments.plan(&request("c1")).expect("there is room");
    attachments.confirm(&confirm("c1")).expect("it was planned");
    assert_eq!(attachments.plan(&request("c1")).expect_err("DEL is missing").code, ErrorCode::INVALID_ENVIRONMENT);
}

#[test]
fn a_confirmation_of_nothing_asks_to_try_again() {
    let mut attachments = Attachments::new(network(&["10.10.1.0/24"]));
    assert_eq!(attachments.confirm(&confirm("c1")).expect_err("no plan").code, ErrorCode::TRY_AGAIN_LATER);
}

#[test]
fn a_full_node_says_which_ranges_are_full() {
    let mut attachments = Attachments::new(network(&["10.10.1.0/30"]));
    attachments.plan(&request("c1")).expect("there is room");
    let error = attachments.plan(&request("c2")).expect_err("it is full");
    assert_eq!(error.code, ErrorCode::ADDRESSES_EXHAUSTED);
    assert!(error.to_string().contains("shop/web") && error.to_string().contains("10.10.1.0/30"), "{error}");
    let error = Attachments::new(network(&[])).plan(&request("c1")).expect_err("it has no range");
    assert_eq!(error.code, ErrorCode::TRY_AGAIN_LATER);
}

#[test]
fn what_is_restored_keeps_its_addresses() {
    let mut before = Attachments::new(network(&["10.10.1.0/24"]));
    before.plan(&request("c1")).expect("there is room");
    let (attachment, _) = before.confirm(&confirm("c1")).expect("it was planned");
    let read = Attachment::from_external_ids(&attachment.host_interface, &attachment.external_ids());
    assert_eq!(read, Ok(Some(attachment.clone())));

    let mut after = Attachments::new(network(&[]));
    after.restore(attachment.clone());
    after.set_network(network(&["10.10.1.0/24"]));
    assert_eq!(after.attached().collect::<Vec<_>>(), [&attachment]);
    let plan = after.plan(&request("c2")).expect("there is room");
    assert_eq!(plan.addresses[0].address.to_string(), "10.10.1.3/32");
    assert_ne!(plan.host_interface, attachment.host_interface);
}

#[test]
fn external_ids_of_others_and_wrong_ones() {
    assert_eq!(Attachment::from_external_ids("eth1", &BTreeMap::new()), Ok(None));
    let mut attachments = Attachments::new(network(&["10.10.1.0/24"]));
    attachments.plan(&request("c1")).expect("there is room");
    let ids = attachments.get("c1", "eth0").expect("it is reserved").external_ids();
    for (key, value) in [("ferrant-mac", "x"), ("ferrant-addresses", "10.0.0.1,"), ("ferrant-name", "")] {
        let mut wrong = ids.clone();
        wrong.insert(key.into(), value.into());
        let error = Attachment::from_external_ids("web-1", &wrong).expect_err(key).to_string();
        assert!(error.contains("web-1") && error.contains(key), "{error}");
    }
}
