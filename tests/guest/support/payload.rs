//! Where the loader, the actor and the objects are.

use std::env;
use std::path::{Path, PathBuf};

/// A path within the payload.
pub(crate) fn path(inside: impl AsRef<Path>) -> PathBuf {
    let payload =
        env::var_os("HOOKLAB_PAYLOAD").expect("HOOKLAB_PAYLOAD names the directory with bin/ and objects/");
    Path::new(&payload).join(inside)
}
