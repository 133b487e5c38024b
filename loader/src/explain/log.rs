//! The verifier's log: what it complains about, and how far it had come.

/// What a log of a refused program says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Complaint {
    /// The last line that is neither an instruction nor a state nor a statistic: the complaint.
    pub(super) text: Option<String>,
    /// The line of the source before the last instruction, with its place where the log has it.
    pub(super) source: Option<String>,
    /// The last instruction.
    pub(super) instruction: Option<String>,
}

/// Reads a log.
pub(super) fn parse(log: &str) -> Complaint {
    let mut complaint = Complaint::default();
    for line in log.lines() {
        if let Some(source) = line.strip_prefix("; ") {
            complaint.source = Some(source.trim().to_owned());
        } else if is_instruction(line) {
            complaint.instruction = Some(without_state(line).to_owned());
        } else if is_complaint(line) {
            complaint.text = Some(line.trim().to_owned());
        }
    }
    complaint
}

/// The number of an instruction, as a log has it.
pub(super) fn number(instruction: &str) -> Option<u32> {
    instruction.split_once(':')?.0.parse().ok()
}

/// `7: (79) r0 = *(u64 *)(r1 +16000)`.
fn is_instruction(line: &str) -> bool {
    let Some((number, rest)) = line.split_once(": (") else { return false };
    let code = rest.split(')').next().unwrap_or_default();
    !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && code.len() == 2
        && code.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Newer kernels print the registers that an instruction changed behind it.
fn without_state(line: &str) -> &str {
    line.split("  ;").next().unwrap_or_default().trim_end()
}

/// Whether a line is neither a state nor a statistic nor a remark.
fn is_complaint(line: &str) -> bool {
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
        "processed ",
        "verification time ",
        "stack depth ",
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
        "BEGIN",
        "END",
        "Live regs before insn:",
        "insn-level",
    ];
    !line.is_empty()
        && !line.starts_with(';')
        && !is_state
        && !remarks.iter().any(|remark| line.starts_with(remark))
        && !is_instruction(line)
}
