//! The copies of attachments that pods' links carry, by netlink: written before a link comes up, read when an agent starts or the
//! database has lost what was in it. What is in them is [`crate::ipam::attachment::alias`]'s business.

#![allow(clippy::disallowed_methods, reason = "a wrapper: what pods' links carry, by netlink")]

use std::collections::BTreeMap;

use futures::TryStreamExt;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage, Prop};
use rtnetlink::{Handle, LinkUnspec};

use super::links::LinksError;
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

/// Writes a link's label and brings it up. It has to be guarded by then.
///
/// # Errors
/// When it is not there, or the kernel refuses.
pub async fn bring_up(handle: &Handle, interface: &str, label: &Label) -> Result<(), LinksError> {
    if !label.alternative_names.is_empty() {
        name(handle, interface, label).await?;
    }
    fault::point("label.names.written");
    // The alias comes after what it goes on in, and says how much that is: a label is whole or seen to be cut.
    let message = LinkUnspec::new_with_name(interface).up().alias(label.alias.clone()).build();
    let raised = handle.link().set(message).execute().await;
    fault::point("links.raise.done");
    refused(raised, interface, || format!("label {interface} and bring it up"))
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
