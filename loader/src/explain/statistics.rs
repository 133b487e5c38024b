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

/// Reads the lines `processed 53 insns (limit 1000000) ... peak_states 4 ...` and `stack depth 8+16`, the last of each; the
/// newest kernels have a line `subprog 0 (name) main ... stack 8` for each function instead of the latter.
pub(super) fn parse(log: &str) -> Statistics {
    let mut statistics = Statistics::default();
    let mut of_functions: Option<u32> = None;
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
        } else if line.starts_with("subprog ")
            && let Some((_, depth)) = line.rsplit_once(" stack ")
            && let Ok(depth) = depth.trim().parse::<u32>()
        {
            of_functions = of_functions.unwrap_or_default().checked_add(depth);
        }
    }
    statistics.stack_depth = of_functions.or(statistics.stack_depth);
    statistics
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(log: &str) -> [Option<u32>; 3] {
        let Statistics { instructions, peak_states, stack_depth } = parse(log);
        [instructions, peak_states, stack_depth]
    }

    #[test]
    fn the_statistics_of_5_10_and_6_12_are_read() {
        let log = "Unrecognized arg#0 type PTR\nBPF program is too large. Processed 1000001 insn\nverification time 2312217 usec\n\
                   stack depth 8+16\nprocessed 1000001 insns (limit 1000000) max_states_per_insn 4 total_states 12000 \
                   peak_states 10001 mark_read 1\n";
        assert_eq!(read(log), [Some(1_000_001), Some(10_001), Some(24)]);
    }

    #[test]
    fn those_of_7_3_name_each_function() {
        let log = "verification time 1329 usec\nstack depth max 0\n\
                   subprog 0 (reads_missing_field) main insns_self 4 insns_total 4 stack 8\n\
                   subprog 1 (other) insns_self 4 insns_total 4 stack 16\n\
                   processed 4 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n";
        assert_eq!(read(log), [Some(4), Some(0), Some(24)]);
    }

    #[test]
    fn what_is_no_statistic_is_not_one() {
        assert_eq!(read(""), [None; 3]);
        assert_eq!(
            read("processed x insns peak_states\nstack depth 8+x\nprocessed 9\nstack depth \n"),
            [None; 3]
        );
        assert_eq!(read("stack depth 4294967295+1\n"), [None; 3]);
    }
}
