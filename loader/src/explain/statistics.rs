//! The verifier's statistics, which it prints at the end of a log: what older kernels tell nowhere else.
//!
//! Read as libbpf's `veristat` reads them, so that the numbers are comparable.

/// What the verifier did for a program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Statistics {
    /// Instructions processed, on all paths.
    pub(super) instructions: Option<u32>,
    /// Most states kept at a time.
    pub(super) peak_states: Option<u32>,
    /// Bytes of stack, of the program and its subprograms together.
    pub(super) stack_depth: Option<u32>,
}

/// Reads the lines `processed 53 insns (limit 1000000) ... peak_states 4 ...` and `stack depth 8+16`, the last of each.
pub(super) fn parse(log: &str) -> Statistics {
    let mut statistics = Statistics::default();
    for line in log.lines() {
        if let Some(rest) = line.strip_prefix("processed ") {
            let words: Vec<&str> = rest.split_ascii_whitespace().collect();
            if words.get(1) != Some(&"insns") {
                continue;
            }
            statistics.instructions = words.first().and_then(|word| word.parse().ok());
            let peak = words.windows(2).find(|pair| pair[0] == "peak_states");
            statistics.peak_states = peak.and_then(|pair| pair[1].parse().ok());
        } else if let Some(rest) = line.strip_prefix("stack depth ") {
            let depths = rest.split_ascii_whitespace().next().unwrap_or_default().split('+');
            let depths: Option<Vec<u32>> = depths.map(|depth| depth.parse().ok()).collect();
            let sum = |depths: Vec<u32>| depths.into_iter().try_fold(0_u32, u32::checked_add);
            statistics.stack_depth = depths.and_then(sum);
        }
    }
    statistics
}
