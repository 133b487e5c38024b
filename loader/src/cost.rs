//! What a loaded program cost the verifier and the size of its machine code, where the kernel reports them.

use aya::programs::{ProgramInfo, loaded_programs};
use hooklab_types::loader::Cost;

/// Asks the kernel about a program by its id; knows nothing if it does not answer.
pub(crate) fn of(id: u32) -> Cost {
    let program = loaded_programs().flatten().find(|program| program.id() == id);
    let told = |program: ProgramInfo| Cost {
        verified_instructions: program.verified_instruction_count(),
        jited_bytes: Some(program.size_jitted()).filter(|bytes| *bytes > 0),
        ..Cost::default()
    };
    program.map(told).unwrap_or_default()
}
