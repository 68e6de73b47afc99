//! `sample(…)`: IPFIX sampling (NXAST_SAMPLE, NXAST_SAMPLE2, NXAST_SAMPLE3).

use super::nicira;
use crate::error::{DecodeError, EncodeError};
use crate::port::PortNumber;
use crate::wire::{Put, Reader};

/// Which copies of the packet to sample.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum SampleDirection {
    #[default]
    Default,
    Ingress,
    Egress,
}

/// Samples packets for IPFIX.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Sample {
    /// How many of 65,536 packets; not 0.
    pub probability: u16,
    pub collector_set_id: u32,
    pub observation_domain: u32,
    pub observation_point: u32,
    /// The port to report as the one sampled.
    pub port: Option<PortNumber>,
    pub direction: SampleDirection,
}

impl Sample {
    pub(super) fn subtype(&self) -> u16 {
        match (self.direction, self.port) {
            (SampleDirection::Default, None) => nicira::SAMPLE,
            (SampleDirection::Default, Some(_)) => nicira::SAMPLE2,
            _ => nicira::SAMPLE3,
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.probability == 0 {
            return Err(EncodeError::Invalid {
                what: "sample",
                problem: "probability 0 samples nothing; leave the action out",
            });
        }
        out.put_u16(self.probability);
        out.put_u32(self.collector_set_id);
        out.put_u32(self.observation_domain);
        out.put_u32(self.observation_point);
        if self.subtype() != nicira::SAMPLE {
            out.put_u16(self.port.unwrap_or(PortNumber::ANY).narrow()?);
            out.put_u8(self.direction as u8);
        }
        Ok(())
    }

    pub(super) fn decode(body: &mut Reader<'_>, subtype: u16) -> Result<Self, DecodeError> {
        let mut sample = Self {
            probability: body.u16()?,
            collector_set_id: body.u32()?,
            observation_domain: body.u32()?,
            observation_point: body.u32()?,
            port: None,
            direction: SampleDirection::Default,
        };
        if subtype != nicira::SAMPLE {
            let port = PortNumber::widen(body.u16()?);
            sample.port = (port != PortNumber::ANY).then_some(port);
            sample.direction = match (body.u8()?, subtype) {
                (1, nicira::SAMPLE3) => SampleDirection::Ingress,
                (2, nicira::SAMPLE3) => SampleDirection::Egress,
                (0, _) => SampleDirection::Default,
                _ => return Err(DecodeError::Invalid { what: "sample", problem: "unknown direction" }),
            };
        }
        Ok(sample)
    }
}
