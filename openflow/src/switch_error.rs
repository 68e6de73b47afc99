//! Errors that the switch reports: type and code, their name and meaning, and the message that was refused.
//!
//! The refused message (its first 64 bytes at least) has the xid of the request, in the error's own header too.

mod codes;

use crate::action::NICIRA;
use crate::error::DecodeError;
use crate::wire::{Put, Reader};

/// What the switch calls the problem.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ErrorCode {
    /// A type and code of the protocol.
    Standard { kind: u16, code: u16 },
    /// A number within an experimenter's errors; Nicira's is 0x2320.
    Experimenter { experimenter: u32, number: u16 },
}

impl ErrorCode {
    /// The name of the problem, such as `OFPBMC_BAD_PREREQ`.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.known().map(|known| known.name)
    }

    /// What the problem means.
    #[must_use]
    pub fn meaning(self) -> Option<&'static str> {
        self.known().map(|known| known.meaning)
    }

    fn known(self) -> Option<&'static codes::Known> {
        match self {
            Self::Standard { kind, code } => {
                codes::STANDARD.iter().find(|known| (known.kind, known.code) == (kind, code))
            }
            Self::Experimenter { experimenter: NICIRA, number } => {
                codes::NICIRA.iter().find(|known| known.code == number)
            }
            Self::Experimenter { .. } => None,
        }
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.known(), self) {
            (Some(known), _) => write!(f, "{}: {}", known.name, known.meaning),
            (None, Self::Standard { kind, code }) => write!(f, "unknown error, type {kind} code {code}"),
            (None, Self::Experimenter { experimenter, number }) => {
                write!(f, "unknown error {number} of experimenter {experimenter:#x}")
            }
        }
    }
}

/// An error the switch reports.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SwitchError {
    pub code: ErrorCode,
    /// The start of the refused message; text for a failed hello.
    pub data: Vec<u8>,
}

/// The type of experimenters' errors.
const EXPERIMENTER: u16 = 0xffff;

impl SwitchError {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self.code {
            ErrorCode::Standard { kind, code } => {
                out.put_u16(kind);
                out.put_u16(code);
            }
            ErrorCode::Experimenter { experimenter, number } => {
                out.put_u16(EXPERIMENTER);
                out.put_u16(number);
                out.put_u32(experimenter);
            }
        }
        out.put_bytes(&self.data);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = reader.u16()?;
        let code = reader.u16()?;
        let code = match kind {
            EXPERIMENTER => ErrorCode::Experimenter { experimenter: reader.u32()?, number: code },
            _ => ErrorCode::Standard { kind, code },
        };
        Ok(Self { code, data: reader.rest().to_vec() })
    }

    /// The xid and type number of the refused message.
    #[must_use]
    pub fn refused(&self) -> Option<(u32, u8)> {
        let mut header = Reader::new(&self.data, "refused message");
        header.skip(1).ok()?;
        let kind = header.u8().ok()?;
        header.skip(2).ok()?;
        Some((header.u32().ok()?, kind))
    }

    /// The refused message, if all of it came.
    #[must_use]
    pub fn refused_message(&self) -> Option<crate::Message> {
        let length = crate::message_length(&self.data)?;
        let (_, message) = crate::Message::decode(self.data.get(..length)?).ok()?;
        Some(message)
    }
}

impl std::fmt::Display for SwitchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.code)?;
        match (self.refused_message(), self.refused()) {
            (Some(message), _) => write!(f, "; refused: {message}"),
            (None, Some((xid, kind))) => {
                write!(
                    f,
                    "; refused: a message of type {kind}, xid {xid:#x}, {} bytes of it came back",
                    self.data.len()
                )
            }
            (None, None) => Ok(()),
        }
    }
}
