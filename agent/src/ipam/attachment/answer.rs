//! What the plugin and the runtime are told of an attachment.

use apis::cni::{
    AddRequest, AddResult, CniError, ErrorCode, Plan, PlannedAddress, PlannedRoute, ResultAddress, ResultInterface,
    ResultRoute,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::record::Attachment;
use super::{Key, PodNetwork};
use crate::ipam::{IpamError, gateway};

/// What the plugin has to make, or has made.
pub(super) fn plan(network: &PodNetwork, attachment: &Attachment) -> Result<Plan, CniError> {
    let mut addresses = Vec::new();
    let mut routes = Vec::new();
    for address in &attachment.addresses {
        let Some(cidr) = network.pod_cidrs.iter().find(|cidr| cidr.contains(address)) else {
            return Err(CniError::new(
                ErrorCode::TRY_AGAIN_LATER,
                format!("pod {}: {address} is in no pod CIDR of this node any more", attachment.pod()),
                "the node's pod CIDRs changed meanwhile",
            ));
        };
        let gateway = gateway(cidr);
        addresses.push(PlannedAddress { address: IpNet::from(*address), gateway, gateway_mac: network.gateway_mac });
        let everything = if address.is_ipv4() { IpNet::V4(Ipv4Net::default()) } else { IpNet::V6(Ipv6Net::default()) };
        routes.push(PlannedRoute { destination: everything, gateway });
    }
    Ok(Plan {
        host_interface: attachment.host_interface.clone(),
        mac: attachment.mac,
        mtu: network.mtu,
        addresses,
        routes,
        transmit_checksum_offload: network.transmit_checksum_offload,
    })
}

/// What the runtime is answered.
pub(super) fn result(attachment: &Attachment, plan: &Plan) -> AddResult {
    let pod = ResultInterface {
        name: attachment.interface.clone(),
        mac: Some(attachment.mac),
        mtu: Some(plan.mtu),
        sandbox: Some(attachment.network_namespace.to_string_lossy().into_owned()),
    };
    let host = ResultInterface { name: plan.host_interface.clone(), mac: None, mtu: Some(plan.mtu), sandbox: None };
    let address = |planned: &PlannedAddress| ResultAddress {
        address: planned.address,
        gateway: Some(planned.gateway),
        interface: Some(0),
    };
    let route =
        |planned: &PlannedRoute| ResultRoute { destination: planned.destination, gateway: Some(planned.gateway) };
    AddResult {
        interfaces: vec![pod, host],
        ips: plan.addresses.iter().map(address).collect(),
        routes: plan.routes.iter().map(route).collect(),
    }
}

/// The pod gets no address.
pub(super) fn refusal(request: &AddRequest, error: &IpamError) -> CniError {
    let code = match error {
        IpamError::Exhausted { waiting: 0, .. } => ErrorCode::ADDRESSES_EXHAUSTED,
        IpamError::Exhausted { .. } | IpamError::NoRange => ErrorCode::TRY_AGAIN_LATER,
    };
    let message = format!("no address for pod {}/{}", request.pod_namespace, request.pod_name);
    CniError::new(code, message, error.to_string())
}

/// A confirmation of what was not planned.
pub(super) fn unknown((container_id, interface): &Key) -> CniError {
    CniError::new(
        ErrorCode::TRY_AGAIN_LATER,
        format!("no plan is known for interface {interface} of container {container_id}"),
        "the agent has restarted since it planned, or a DEL came between",
    )
}

/// A second ADD.
pub(super) fn attached_already((container_id, interface): &Key) -> CniError {
    CniError::new(
        ErrorCode::INVALID_ENVIRONMENT,
        format!("CNI_CONTAINERID={container_id} has an interface CNI_IFNAME={interface} already"),
        "the runtime has to send DEL before another ADD",
    )
}
