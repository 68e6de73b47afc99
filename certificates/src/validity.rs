//! When a certificate counts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Clocks differ: a certificate counts from a little before it is issued.
const BACKDATED: Duration = Duration::from_secs(5 * 60);
/// What is asked for without end, in days.
const LONGEST: u64 = 3650;

/// When a certificate counts; on certificates times are whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From then on.
    pub from: SystemTime,
    /// Until then.
    pub until: SystemTime,
}

impl Validity {
    /// From now on (and a little before), for this long.
    pub fn from_now(lifetime: Duration) -> Self {
        let now = SystemTime::now();
        let lifetime = lifetime.min(Duration::from_secs(LONGEST * 24 * 3600));
        Self { from: now - BACKDATED, until: now + lifetime }
    }

    /// Of a certificate in DER.
    pub(crate) fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let time = |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let validity = certificate.validity();
        Some(Self { from: time(validity.not_before.timestamp()), until: time(validity.not_after.timestamp()) })
    }

    /// When it is to be renewed: once two thirds of its life have passed, from when it was issued on.
    pub fn renew_at(&self) -> SystemTime {
        let life = self.until.duration_since(self.from).unwrap_or_default().saturating_sub(BACKDATED);
        self.until.checked_sub(life / 3).unwrap_or(self.from)
    }

    /// Whether it counts no longer.
    pub fn is_over(&self) -> bool {
        SystemTime::now() >= self.until
    }

    /// Its end, as people and programs read it (RFC 3339).
    pub fn until_text(&self) -> String {
        OffsetDateTime::from(self.until).format(&Rfc3339).unwrap_or_else(|_| "an unknown time".to_owned())
    }

    /// As makers of certificates have it.
    pub(crate) fn times(&self) -> (OffsetDateTime, OffsetDateTime) {
        (self.from.into(), self.until.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_of_the_life_is_left_for_renewal_however_short_it_is() {
        for seconds in [3, 90, 30 * 24 * 3600] {
            let validity = Validity::from_now(Duration::from_secs(seconds));
            let left = validity.until.duration_since(validity.renew_at()).unwrap();
            assert_eq!(left, Duration::from_secs(seconds) / 3, "{seconds} s");
            assert!(!validity.is_over());
        }
        let second = UNIX_EPOCH + Duration::from_secs(1);
        let over = Validity { from: UNIX_EPOCH, until: second };
        assert!(over.is_over());
        assert_eq!(over.renew_at(), second, "less than what it was backdated: at its end");
        assert_eq!(over.until_text(), "1970-01-01T00:00:01Z");
    }
}
