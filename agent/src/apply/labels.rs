//! The copies of attachments that pods' links carry, by netlink: written before a link comes up, read when an agent starts or the
//! database has lost what was in it. What is in them is [`crate::ipam::attachment::alias`]'s business.
//!
//! A pod's link is a cable into the switch and nothing of the node's own stack, so it has no IPv6 there. With it the node would
//! speak on every pod's cable, and two routes a pod would be in the node's table, which a userspace switch reads as a whole
//! whenever any link changes: attaching a pod would take the longer the more pods there are.

#![allow(clippy::disallowed_methods, reason = "a wrapper: what pods' links carry, by netlink")]

use std::collections::BTreeMap;

use futures::TryStreamExt;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage, Prop};
use rtnetlink::{Handle, LinkUnspec};

use super::links::LinksError;
use super::sysctl::Sysctl;
use crate::ipam::attachment::alias::Label;

/// What every link of the node's network namespace carries, by the link's name.
///
/// # Errors
/// What the kernel says.
pub async fn read(handle: &Handle) -> Result<BTreeMap<String, Label>, LinksError> {
    let dump = handle.link().get().execute().try_collect::<Vec<LinkMessage>>().await;
    let dump = dump.map_err(|source| LinksError::Refused { step: "list links".to_owned(), source })?;
    Ok(dump.iter().filter_map(label).collect())
}

/// Writes a link's label and brings it up, `promiscuous` or as it is. It has to be guarded by then.
///
/// A userspace switch makes every system interface promiscuous that becomes its port. That is one more change of a link, and at each
/// vswitchd looks at all that it has; an interface that is promiscuous when it becomes a port has no such change. (vswitchd makes it
/// by writing all flags as it read them a moment before: a link that came up in between would be down again. So a link is up first.)
///
/// # Errors
/// When it is not there, or the kernel refuses.
pub async fn bring_up(handle: &Handle, interface: &str, label: &Label, promiscuous: bool) -> Result<(), LinksError> {
    if !label.alternative_names.is_empty() {
        name(handle, interface, label).await?;
    }
    fault::point("label.names.written");
    without_ipv6(interface)?;
    // The alias comes after what it goes on in, and says how much that is: a label is whole or seen to be cut.
    let message = LinkUnspec::new_with_name(interface).up().alias(label.alias.clone());
    let message = if promiscuous { message.promiscuous(true) } else { message };
    let raised = handle.link().set(message.build()).execute().await;
    fault::point("links.raise.done");
    refused(raised, interface, || format!("label {interface} and bring it up"))
}

fn without_ipv6(interface: &str) -> Result<(), LinksError> {
    match Sysctl::new(format!("net/ipv6/conf/{interface}/disable_ipv6"), "1").apply() {
        // A kernel without IPv6 has no such setting.
        Err(error) if error.is_missing() => Ok(()),
        done => Ok(done.map(|_| ())?),
    }
}

async fn name(handle: &Handle, interface: &str, label: &Label) -> Result<(), LinksError> {
    for name in &label.alternative_names {
        let mut request = handle.link().property_add(0);
        request.message_mut().attributes = vec![
            LinkAttribute::IfName(interface.to_owned()),
            LinkAttribute::PropList(vec![Prop::AltIfName(name.clone())]),
        ];
        match request.execute().await {
            // Written before: by an agent that ended between this and the alias.
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -nix::libc::EEXIST => {}
            done => refused(done, interface, || format!("give {interface} the alternative name {name}"))?,
        }
    }
    Ok(())
}

fn refused(
    done: Result<(), rtnetlink::Error>,
    interface: &str,
    step: impl FnOnce() -> String,
) -> Result<(), LinksError> {
    done.map_err(|source| match &source {
        rtnetlink::Error::NetlinkError(error) if error.raw_code() == -nix::libc::ENODEV => {
            LinksError::Missing(interface.to_owned())
        }
        _ => LinksError::Refused { step: step(), source },
    })
}

fn label(link: &LinkMessage) -> Option<(String, Label)> {
    let (mut name, mut label) = (None, Label::default());
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(found) => name = Some(found.clone()),
            LinkAttribute::IfAlias(alias) => label.alias = alias.trim_end_matches('\0').to_owned(),
            LinkAttribute::PropList(properties) => {
                let names = properties.iter().filter_map(|property| match property {
                    Prop::AltIfName(name) => Some(name.clone()),
                    _ => None,
                });
                label.alternative_names.extend(names);
            }
            _ => {}
        }
    }
    Some((name?, label))
}
