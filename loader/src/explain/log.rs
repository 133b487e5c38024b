//! The verifier's log: its error, and how far it had come.

/// What a log of a refused program says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct VerifierError {
    /// The last line that is neither an instruction nor a state nor a statistic: the error.
    pub(super) text: Option<String>,
    /// The line of the source before the last instruction, with its place where the log has it.
    pub(super) source: Option<String>,
    /// The last instruction.
    pub(super) instruction: Option<String>,
}

/// Reads a log.
pub(super) fn parse(log: &str) -> VerifierError {
    let mut error = VerifierError::default();
    // What follows are statistics, whose lines differ from kernel to kernel.
    let is_before_statistics =
        |line: &&str| !line.starts_with("verification time ") && !line.starts_with("processed ");
    for line in log.lines().take_while(is_before_statistics) {
        if let Some(source) = line.strip_prefix("; ") {
            error.source = Some(source.trim().to_owned());
        } else if is_instruction(line) {
            error.instruction = Some(without_state(line).to_owned());
        } else if is_error(line) {
            error.text = Some(line.trim().to_owned());
        }
    }
    error
}

/// The number of the last instruction in a log.
pub(super) fn last_instruction(log: &str) -> Option<u32> {
    parse(log).instruction?.split_once(':')?.0.parse().ok()
}

/// `7: (79) r0 = *(u64 *)(r1 +16000)`, or what libbpf writes in place of one that it could not relocate:
/// `7: <invalid CO-RE relocation>`.
fn is_instruction(line: &str) -> bool {
    let Some((number, rest)) = line.split_once(": ") else { return false };
    let code = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map(|(code, _)| code);
    let is_code = |code: &str| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_hexdigit());
    !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && (code.is_some_and(is_code) || rest.starts_with("<invalid "))
}

/// Newer kernels print the registers that an instruction changed behind it.
fn without_state(line: &str) -> &str {
    line.split("  ;").next().unwrap_or_default().trim_end()
}

/// Whether a line is neither a state nor a statistic nor a remark.
fn is_error(line: &str) -> bool {
    let line = line.trim();
    let (first, _) = line.split_once(' ').unwrap_or((line, ""));
    let is_register = |word: &str| {
        let name = word.split(['=', '_']).next().unwrap_or_default();
        word.contains('=')
            && (name.starts_with("fp")
                || name
                    .strip_prefix('R')
                    .is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())))
    };
    // `2: R1=ctx()` is the state before an instruction, `from 3 to 5: R0=...` where it is reached from elsewhere.
    let is_state = is_register(first)
        || first.strip_suffix(':').is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        || line.starts_with("from ") && line.contains(" to ");
    let remarks = [
        "func#",
        "mark_precise",
        "last_idx ",
        "regs=",
        "parent ",
        "propagating ",
        "safe",
        "caller:",
        "callee:",
        "returning from callee",
        "Func#",
        "Validating ",
        "BEGIN",
        "END",
        "Live regs before insn:",
        "Unrecognized arg#",
    ];
    !line.is_empty()
        && !line.starts_with(';')
        && !is_state
        && !remarks.iter().any(|remark| line.starts_with(remark))
        && !line.ends_with(" type is not a struct")
        && !is_instruction(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_stands_before_the_statistics_whatever_these_are() {
        // Of Linux 7.3.
        let log = "0: R1=ctx() R10=fp0\n; return ctx[2000]; @ causes.bpf.c:37\n\
                   0: (79) r0 = *(u64 *)(r1 +16000)         ; R0=scalar()\n\
                   invalid bpf_context access off=16000 size=8\nverification time 3770 usec\nstack depth max 0\n\
                   subprog 0 (reads_too_far) main insns_self 1 insns_total 1 stack 0\nprocessed 1 insns (limit 1000000)\n";
        let error = parse(log);
        assert_eq!(error.text.as_deref(), Some("invalid bpf_context access off=16000 size=8"));
        assert_eq!(error.source.as_deref(), Some("return ctx[2000]; @ causes.bpf.c:37"));
        assert_eq!(error.instruction.as_deref(), Some("0: (79) r0 = *(u64 *)(r1 +16000)"));
        assert_eq!(last_instruction(log), Some(0));
    }

    #[test]
    fn states_and_remarks_are_no_errors() {
        // Of Linux 5.10 and 6.12.
        let log = "Unrecognized arg#0 type PTR\nfunc#0 @0\n0: R1=ctx(id=0,off=0,imm=0) R10=fp0\n R0_w=inv0 R10=fp0 fp-8=????mmmm\n\
                   from 3 to 5: R0=scalar() R10=fp0\nlast_idx 10 first_idx 2\nregs=2 stack=0 before 9: (77) r1 >>= 32\n\
                   mark_precise: frame0: last_idx 12 first_idx 11\n5: R0=1\n12: safe\n\n";
        assert_eq!(parse(log), VerifierError::default());
    }

    #[test]
    fn what_libbpf_could_not_relocate_is_an_instruction() {
        let log = "2: (63) *(u32 *)(r10 -4) = r1\n3: <invalid CO-RE relocation>\nfailed to resolve CO-RE relocation x\n";
        assert_eq!(parse(log).instruction.as_deref(), Some("3: <invalid CO-RE relocation>"));
        assert_eq!(last_instruction(log), Some(3));
        assert_eq!(last_instruction("no instruction"), None);
    }
}
