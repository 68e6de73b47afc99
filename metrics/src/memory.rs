//! How much memory the process has, from proc(5).

/// In bytes; 0 where the system does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident now (`VmRSS`).
    pub resident: u64,
    /// The most that ever was (`VmHWM`).
    pub peak: u64,
}

/// This process's.
pub fn memory() -> Memory {
    of(&std::fs::read_to_string("/proc/self/status").unwrap_or_default())
}

fn of(status: &str) -> Memory {
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kibibytes = line.and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok());
        kibibytes.unwrap_or(0) * 1024
    };
    Memory { resident: bytes("VmRSS:"), peak: bytes("VmHWM:") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_found_and_their_absence_is_no_error() {
        let status = "Name:\tx\nVmHWM:\t    3004 kB\nVmRSS:\t    2000 kB\n";
        assert_eq!(of(status), Memory { resident: 2_048_000, peak: 3_076_096 });
        assert_eq!(of("Name:\tx\n"), Memory::default());
        assert!(memory().peak > 0, "this runs on Linux");
    }
}
