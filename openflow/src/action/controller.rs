//! `controller(…)`: a packet-in that says who it is for and carries data of ours (NXAST_CONTROLLER, NXAST_CONTROLLER2).

use crate::error::{DecodeError, EncodeError};
use crate::packet::PacketInReason;
use crate::wire::{Put, Reader, padding};

/// Sends the packet to a controller.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Controller {
    /// How many bytes of the packet to send.
    pub max_len: u16,
    /// Which controller, of those that set an id; 0 for all that did not.
    pub id: u16,
    pub reason: PacketInReason,
    /// Comes back in the packet-in.
    pub userdata: Vec<u8>,
    /// Stops the packet here until the controller resumes it.
    pub pause: bool,
    /// Limits the packet-ins.
    pub meter: Option<u32>,
}

impl Default for Controller {
    fn default() -> Self {
        Self {
            max_len: u16::MAX,
            id: 0,
            reason: PacketInReason::Action,
            userdata: Vec::new(),
            pause: false,
            meter: None,
        }
    }
}

const MAX_LEN: u16 = 0;
const CONTROLLER_ID: u16 = 1;
const REASON: u16 = 2;
const USERDATA: u16 = 3;
const PAUSE: u16 = 4;
const METER_ID: u16 = 5;

impl Controller {
    /// Whether the old, fixed form has room for all of it. The switch chooses in the same way.
    pub(super) fn is_plain(&self) -> bool {
        self.userdata.is_empty() && !self.pause && self.meter.is_none()
    }

    pub(super) fn encode_plain(&self, out: &mut Vec<u8>) {
        out.put_u16(self.max_len);
        out.put_u16(self.id);
        out.put_u8(self.reason.into());
        out.put_u8(0);
    }

    pub(super) fn decode_plain(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { max_len: body.u16()?, id: body.u16()?, reason: body.u8()?.into(), ..Self::default() })
    }

    /// The properties of the new form, after 6 bytes of padding.
    pub(super) fn encode_properties(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_zeros(6);
        if self.max_len != u16::MAX {
            property16(out, MAX_LEN, self.max_len)?;
        }
        if self.id != 0 {
            property16(out, CONTROLLER_ID, self.id)?;
        }
        if self.reason != PacketInReason::Action {
            property(out, REASON, &[self.reason.into()])?;
        }
        if !self.userdata.is_empty() {
            property(out, USERDATA, &self.userdata)?;
        }
        if self.pause {
            property(out, PAUSE, &[])?;
        }
        if let Some(meter) = self.meter {
            property(out, METER_ID, &meter.to_be_bytes())?;
        }
        Ok(())
    }

    pub(super) fn decode_properties(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut controller = Self::default();
        body.skip(6)?;
        while body.left() >= 4 {
            let kind = body.u16()?;
            let length = body.u16()?;
            let mut value = body.part(length, 4, "controller property")?;
            body.skip(padding(length.into()).min(body.left()))?;
            match kind {
                MAX_LEN => controller.max_len = value.u16()?,
                CONTROLLER_ID => controller.id = value.u16()?,
                REASON => controller.reason = value.u8()?.into(),
                USERDATA => controller.userdata = value.rest().to_vec(),
                PAUSE => controller.pause = true,
                METER_ID => controller.meter = Some(value.u32()?),
                _ => return Err(DecodeError::Invalid { what: "controller action", problem: "unknown property" }),
            }
        }
        Ok(controller)
    }
}

/// Appends a property of 16 bits, to whose length the protocol counts two bytes of padding.
pub(crate) fn property16(out: &mut Vec<u8>, kind: u16, value: u16) -> Result<(), EncodeError> {
    property(out, kind, &(u32::from(value) << 16).to_be_bytes())
}

/// Appends a property: kind, length, value, padding.
pub(crate) fn property(out: &mut Vec<u8>, kind: u16, value: &[u8]) -> Result<(), EncodeError> {
    let start = out.len();
    out.put_u16(kind);
    out.put_u16(0);
    out.put_bytes(value);
    out.set_length(start, start + 2, "property")?;
    out.pad_since(start);
    Ok(())
}
