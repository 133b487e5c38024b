//! What a loaded program cost the verifier, and what the kernel made of it, where the kernel tells.

use aya::programs::{ProgramInfo, loaded_programs};
use serde::Serialize;

/// Of one program.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Cost {
    /// Instructions that the verifier went through, on all paths; told since 5.16.
    verified_instructions: Option<u32>,
    /// Bytes of machine code; none where the program is interpreted.
    jited_bytes: Option<u32>,
}

impl Cost {
    /// Asks the kernel about a program by its id; knows nothing if it does not answer.
    pub(crate) fn of(id: u32) -> Self {
        let program = loaded_programs().flatten().find(|program| program.id() == id);
        let told = |program: ProgramInfo| Self {
            verified_instructions: program.verified_instruction_count(),
            jited_bytes: Some(program.size_jitted()).filter(|bytes| *bytes > 0),
        };
        program.map(told).unwrap_or_default()
    }
}
