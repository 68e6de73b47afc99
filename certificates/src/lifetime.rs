//! How long a certificate is to count, as people write it.

use std::time::Duration;

/// Reads `30d`, `12h`, `45m` or `90s`.
///
/// # Errors
/// In words, when it is none of these, or longer than ten years.
pub fn lifetime(text: &str) -> Result<Duration, String> {
    const ADVICE: &str = "write a number and a unit, as in 30d, 12h, 45m or 90s, at most 3650d";
    let end = text.find(|character: char| !character.is_ascii_digit()).ok_or(ADVICE)?;
    let (number, unit) = text.split_at(end);
    let second: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(ADVICE.to_owned()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(second));
    seconds.filter(|seconds| (1..=3650 * 24 * 3600).contains(seconds)).map(Duration::from_secs).ok_or(ADVICE.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_unit_are_read() {
        let seconds = |text| lifetime(text).map(|lifetime| lifetime.as_secs());
        assert_eq!((seconds("90s"), seconds("45m"), seconds("12h")), (Ok(90), Ok(2700), Ok(43200)));
        assert_eq!(seconds("30d"), Ok(2_592_000));
        for wrong in ["", "30", "d", "0s", "-1d", "1w", "1.5h", "99999999999999999999d", "3651d", "1 d"] {
            assert!(seconds(wrong).unwrap_err().contains("30d"), "{wrong}");
        }
    }
}
