//! `antctl get`: what is asked for, and how its table looks. The columns are Antrea's where it has the command.

use apis::query::{
    ADDRESS_GROUPS_PATH, APPLIED_TO_GROUPS_PATH, AgentInfo, ControllerInfo, GroupInfo, INFO_PATH,
    NETWORK_POLICIES_PATH, OVS_FLOWS_PATH, OvsFlow, PODS_PATH, PodInfo, PolicyInfo, is_of_policy,
};
use serde::Serialize;

use crate::Failure;
use crate::ask::{AskError, Asked, encoded};
use crate::command::{Get, Group, Output, OvsFlows, Places, Podinterface, Policy};
use crate::print::{Table, print, some};

/// Characters that a list may take in a table.
const LIST: usize = 60;

/// Asks and prints.
///
/// # Errors
/// Nobody answers, there is no such object, or the answer cannot be printed.
pub async fn get(get: &Get, places: &Places, output: Output) -> Result<(), Failure> {
    match get {
        Get::Ovsflows(which) => {
            let flows: Vec<OvsFlow> = Asked::agent(places).get(&flows_question(which)?).await?;
            print(&flows, output, |flows| ovs_flows(flows))?;
        }
        Get::Podinterface(which) => pod_interfaces(which, places, output).await?,
        Get::Agentinfo => print(&Asked::agent(places).get(INFO_PATH).await?, output, agent_info)?,
        Get::Controllerinfo => print(&Asked::controller(places).get(INFO_PATH).await?, output, controller_info)?,
        Get::Networkpolicy(which) => network_policies(which, places, output).await?,
        Get::Appliedtogroup(which) => {
            groups(which, "applied-to group", APPLIED_TO_GROUPS_PATH, places, output, applied_to_groups).await?;
        }
        Get::Addressgroup(which) => {
            groups(which, "address group", ADDRESS_GROUPS_PATH, places, output, address_groups).await?;
        }
    }
    Ok(())
}

/// One object where one was named, else the list.
fn one_or_all<T: Serialize>(
    mut found: Vec<T>,
    named: Option<String>,
    output: Output,
    table: impl FnOnce(&[T]) -> Table,
) -> Result<(), Failure> {
    match (named, found.len()) {
        (Some(what), 0) => Err(AskError::NotFound(format!("there is no {what}")).into()),
        (Some(_), 1) => {
            let one = found.remove(0);
            Ok(print(&one, output, |one| table(std::slice::from_ref(one)))?)
        }
        _ => Ok(print(&found, output, |found| table(found))?),
    }
}

fn full_name(namespace: Option<&str>, name: &str, default: Option<&str>) -> Result<String, Failure> {
    match (name.split_once('/'), namespace.or(default)) {
        (Some((written, _)), _) if namespace.is_some_and(|namespace| namespace != written) => {
            let namespace = namespace.unwrap_or_default();
            Err(Failure::Usage(format!("{name} is not in --namespace {namespace}; leave one of them out")))
        }
        (Some(_), _) | (None, None) => Ok(name.to_owned()),
        (None, Some(namespace)) => Ok(format!("{namespace}/{name}")),
    }
}

fn flows_question(which: &OvsFlows) -> Result<String, Failure> {
    let namespace = which.namespace.as_deref();
    if namespace.is_some() && which.pod.is_none() && which.networkpolicy.is_none() {
        return Err(Failure::Usage("--namespace says where --pod or --networkpolicy is; add one of them".to_owned()));
    }
    let pod = which.pod.as_deref().map(|pod| full_name(namespace, pod, Some("default"))).transpose()?;
    let policy = which.networkpolicy.as_deref().map(|policy| full_name(namespace, policy, None)).transpose()?;
    let parameters = [("pod", pod), ("policy", policy), ("table", which.table.clone())];
    let parameters = parameters.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(&value?))));
    let parameters: Vec<String> = parameters.collect();
    let mark = if parameters.is_empty() { "" } else { "?" };
    Ok(format!("{OVS_FLOWS_PATH}{mark}{}", parameters.join("&")))
}

fn ovs_flows(flows: &[OvsFlow]) -> Table {
    let count = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
    let row = |flow: &OvsFlow| {
        let from = if flow.from.is_empty() { "nothing: to be removed".to_owned() } else { some(&flow.from, LIST) };
        vec![
            flow.table.clone(),
            flow.priority.to_string(),
            count(flow.packets),
            count(flow.bytes),
            from,
            format!("{} -> {}", flow.matches, flow.actions),
        ]
    };
    Table { columns: &["TABLE", "PRIORITY", "PACKETS", "BYTES", "FROM", "FLOW"], rows: flows.iter().map(row).collect() }
}

async fn pod_interfaces(which: &Podinterface, places: &Places, output: Output) -> Result<(), Failure> {
    let wanted = which.name.as_deref().map(|name| full_name(which.namespace.as_deref(), name, None)).transpose()?;
    let mut pods: Vec<PodInfo> = Asked::agent(places).get(PODS_PATH).await?;
    pods.retain(|pod| {
        let (namespace, name) = pod.pod.split_once('/').unwrap_or(("", &pod.pod));
        let named = wanted.as_deref().is_none_or(|wanted| wanted == pod.pod || wanted == name);
        named && which.namespace.as_deref().is_none_or(|wanted| wanted == namespace)
    });
    let named = wanted.map(|name| format!("pod {name} attached on this node"));
    one_or_all(pods, named, output, |pods| Table {
        columns: &["NAMESPACE", "NAME", "INTERFACE-NAME", "IP", "MAC", "OF-PORT", "CONTAINER-ID", "INGRESS", "EGRESS"],
        rows: pods.iter().map(pod_row).collect(),
    })
}

fn pod_row(pod: &PodInfo) -> Vec<String> {
    let none = || "<NONE>".to_owned();
    let (namespace, name) = pod.pod.split_once('/').unwrap_or(("", &pod.pod));
    let addresses: Vec<String> = pod.addresses.iter().map(ToString::to_string).collect();
    vec![
        namespace.to_owned(),
        name.to_owned(),
        pod.interface.clone(),
        some(&addresses, LIST),
        pod.mac.clone(),
        pod.port.map_or_else(none, |port| port.to_string()),
        pod.container.chars().take(12).collect(),
        pod.ingress.clone().unwrap_or_else(none),
        pod.egress.clone().unwrap_or_else(none),
    ]
}

fn agent_info(info: &AgentInfo) -> Table {
    let status = match (info.switch_connected, info.controller_connected, info.frame) {
        (false, ..) => "NoSwitch",
        (true, _, None) => "NoState",
        (true, false, Some(_)) => "NoController",
        (true, true, Some(_)) => "Ready",
    };
    let subnets: Vec<String> = info.node_subnets.iter().map(ToString::to_string).collect();
    let row = vec![
        info.node.clone(),
        status.to_owned(),
        some(&subnets, LIST),
        info.network_policies.to_string(),
        info.address_groups.to_string(),
        info.applied_to_groups.to_string(),
        info.pods.to_string(),
        info.flows.to_string(),
        info.frame.map_or_else(|| "<NONE>".to_owned(), |frame| frame.to_string()),
        info.version.clone(),
    ];
    Table {
        columns: &[
            "NODE",
            "STATUS",
            "NODE-SUBNET",
            "NETWORK-POLICIES",
            "ADDRESS-GROUPS",
            "APPLIED-TO-GROUPS",
            "LOCAL-PODS",
            "FLOWS",
            "FRAME",
            "VERSION",
        ],
        rows: vec![row],
    }
}

fn controller_info(info: &ControllerInfo) -> Table {
    let status = match (info.in_sync, info.has_been_in_sync) {
        (true, _) => "Ready",
        (false, true) => "Reading",
        (false, false) => "NotInSync",
    };
    let behind = info.agents.values().filter(|agent| agent.realised_version < info.version).count();
    let row = vec![
        status.to_owned(),
        info.objects.get("NetworkPolicy").copied().unwrap_or_default().to_string(),
        info.address_groups.to_string(),
        info.applied_to_groups.to_string(),
        info.agents.len().to_string(),
        behind.to_string(),
        info.errors.to_string(),
        info.release.clone(),
    ];
    Table {
        columns: &[
            "STATUS",
            "NETWORK-POLICIES",
            "ADDRESS-GROUPS",
            "APPLIED-TO-GROUPS",
            "CONNECTED-AGENTS",
            "BEHIND",
            "SOURCE-ERRORS",
            "VERSION",
        ],
        rows: vec![row],
    }
}

async fn network_policies(which: &Policy, places: &Places, output: Output) -> Result<(), Failure> {
    let wanted = which.name.as_deref().map(|name| full_name(which.namespace.as_deref(), name, None)).transpose()?;
    let mut policies: Vec<PolicyInfo> = Asked::either(places).get(NETWORK_POLICIES_PATH).await?;
    policies.retain(|policy| {
        let namespace = policy.name.split_once('/').map_or("", |(namespace, _)| namespace);
        wanted.as_deref().is_none_or(|wanted| is_of_policy(&policy.source, wanted))
            && which.namespace.as_deref().is_none_or(|wanted| wanted == namespace)
    });
    one_or_all(policies, wanted.map(|name| format!("policy {name}")), output, |policies| Table {
        columns: &["NAME", "APPLIED-TO", "RULES", "ISOLATES", "SOURCE"],
        rows: policies
            .iter()
            .map(|policy| {
                vec![
                    policy.name.clone(),
                    some(&policy.applied_to, LIST),
                    policy.rules.len().to_string(),
                    some(&policy.isolates, LIST),
                    policy.source.clone(),
                ]
            })
            .collect(),
    })
}

async fn groups(
    which: &Group,
    what: &str,
    path: &str,
    places: &Places,
    output: Output,
    table: fn(&[GroupInfo]) -> Table,
) -> Result<(), Failure> {
    let mut groups: Vec<GroupInfo> = Asked::either(places).get(path).await?;
    groups.retain(|group| which.name.as_deref().is_none_or(|name| group.name.starts_with(name)));
    one_or_all(groups, which.name.as_deref().map(|name| format!("{what} {name}")), output, table)
}

fn applied_to_groups(groups: &[GroupInfo]) -> Table {
    let row = |group: &GroupInfo| {
        let pods: Vec<String> = group.pods.iter().map(|member| member.pod.clone()).collect();
        group_row(group, &pods)
    };
    Table { columns: &["NAME", "PODS", "SELECTOR", "POLICIES"], rows: groups.iter().map(row).collect() }
}

fn address_groups(groups: &[GroupInfo]) -> Table {
    let row = |group: &GroupInfo| {
        let addresses = group.pods.iter().flat_map(|member| member.addresses.iter()).map(ToString::to_string);
        group_row(group, &addresses.collect::<Vec<String>>())
    };
    Table { columns: &["NAME", "POD-IPS", "SELECTOR", "POLICIES"], rows: groups.iter().map(row).collect() }
}

fn group_row(group: &GroupInfo, members: &[String]) -> Vec<String> {
    let selector = group.selector.clone().unwrap_or_else(|| "<NONE>".to_owned());
    vec![group.name.clone(), some(members, LIST), selector, some(&group.policies, LIST)]
}
