//! Bundles: many messages that happen in order and all at once, or not at all (OpenFlow 1.5.1, section 7.3.9).
//!
//! The switch checks most of a message when it is added, and answers only if it fails; the bundle stays open without it and
//! would commit the rest. So the close, which is answered after all the adds before it, comes first, and a commit is sent
//! only if nothing was rejected. An error at commit time has the xid of the message it is about, too.

use openflow::{BundleControl, BundleFlags, BundleStep, HEADER_LENGTH as HEADER, Message};

use super::connection::{Connection, PIECE, answered};
use super::error::{BundleError, RequestError};
use super::frame::{Batch, kind, put_header};
use super::waiting::Rejected;

/// Bytes of `ofp_bundle_add_msg` before the message.
const ADD: usize = HEADER + 8;
const ATOMIC_ORDERED: BundleFlags = BundleFlags(BundleFlags::ATOMIC.0 | BundleFlags::ORDERED.0);

impl Connection {
    /// Makes all of the batch happen, in its order and in one moment, or nothing of it. Meter mods cannot be in a bundle.
    ///
    /// Keep it to about 10,000 flows: a `netdev` switch forwards nothing while it commits.
    pub async fn bundle(&self, batch: &Batch) -> Result<(), BundleError> {
        if batch.is_empty() {
            return Ok(());
        }
        let limit = usize::from(u16::MAX) - ADD;
        if let Some((index, message)) = batch.iter().enumerate().find(|(_, message)| message.len() > limit) {
            return Err(BundleError::TooLong { index, length: message.len(), limit });
        }
        let (open, opened) = self.reply()?;
        let errors = self.batch(batch.len())?;
        // Unique among the bundles of this connection that are open.
        let id = open;
        let mut piece = Vec::with_capacity(PIECE + 1024);
        piece.extend_from_slice(&control(open, id, BundleStep::Open)?);
        for (inner, xid) in batch.iter().zip(errors.first..) {
            put_header(&mut piece, kind::BUNDLE_ADD, ADD + inner.len(), xid);
            piece.extend_from_slice(&id.to_be_bytes());
            piece.extend_from_slice(&[0, 0]);
            piece.extend_from_slice(&ATOMIC_ORDERED.0.to_be_bytes());
            piece.extend_from_slice(&inner[..4]);
            piece.extend_from_slice(&xid.to_be_bytes());
            piece.extend_from_slice(&inner[HEADER..]);
            if piece.len() >= PIECE {
                self.write(std::mem::replace(&mut piece, Vec::with_capacity(PIECE + 1024))).await?;
            }
        }
        let (close, closed) = self.reply()?;
        piece.extend_from_slice(&control(close, id, BundleStep::Close)?);
        self.write(piece).await?;
        let (opened, closed) = (answered(opened).await, answered(closed).await);
        let rejected = errors.take();
        if let (Ok(_), Ok(_), true) = (&opened, &closed, rejected.is_empty()) {
            fault::point("openflow.bundle.staged");
            let committed = self.control(id, BundleStep::Commit).await;
            fault::point("openflow.bundle.committed");
            return match committed {
                Ok(()) => Ok(()),
                Err(error) => Err(refused(error, errors.take())),
            };
        }
        // What was added would otherwise wait in the switch until it times out. The answer changes nothing.
        if closed.is_ok() {
            let _ = self.control(id, BundleStep::Discard).await;
        }
        match (opened, closed) {
            (Err(error), _) => Err(refused(error, Vec::new())), // then every message was rejected, for want of a bundle
            (Ok(_), Err(error)) => Err(refused(error, rejected)),
            (Ok(_), Ok(_)) => Err(BundleError::Rejected(rejected)),
        }
    }

    async fn control(&self, id: u32, step: BundleStep) -> Result<(), RequestError> {
        let (xid, reply) = self.reply()?;
        self.write(control(xid, id, step)?).await?;
        answered(reply).await.map(drop)
    }
}

/// The messages say more than the bundle as a whole does.
fn refused(error: RequestError, rejected: Vec<Rejected>) -> BundleError {
    match error {
        RequestError::Rejected(_) if !rejected.is_empty() => BundleError::Rejected(rejected),
        RequestError::Rejected(rejection) => BundleError::Refused(rejection),
        other => other.into(),
    }
}

fn control(xid: u32, id: u32, step: BundleStep) -> Result<Vec<u8>, RequestError> {
    Ok(Message::BundleControl(BundleControl { id, step, flags: ATOMIC_ORDERED }).encode(xid)?)
}
