//! Which programs load on which kernels: what the host knows of objects, what guests answer, and comparing that with a
//! report kept from before.

pub mod answers;
pub mod expect;
pub mod object;
