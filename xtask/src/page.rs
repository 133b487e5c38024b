//! The part of docs/kernels.md that is made from a report.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use hooklab::report::features;
use hooklab::report::summary::Summary;

const PAGE: &str = "docs/kernels.md";
const BEGIN: &str = "<!-- made by `cargo xtask doc` -->\n";
const END: &str = "<!-- end of what is made -->\n";

/// The page of the checkout, as it is and as a report wants it.
pub(crate) struct Page {
    path: PathBuf,
    before: String,
    after: String,
}

impl Page {
    /// Puts what `summary` knows between the page's marks.
    ///
    /// # Errors
    /// The page has no marks; the report knows nothing of a kernel.
    pub(crate) fn new(root: &Path, summary: &Summary) -> Result<Self> {
        let path = root.join(PAGE);
        let before =
            fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
        if let Some(kernel) = summary.kernels.iter().find(|kernel| kernel.facts.is_none()) {
            bail!("failed to describe kernel {}: the report does not say what it can do", kernel.spec);
        }
        let Some((head, rest)) = before.split_once(BEGIN) else {
            bail!("failed to find {BEGIN:?} in {PAGE}")
        };
        let Some((_, tail)) = rest.split_once(END) else { bail!("failed to find {END:?} in {PAGE}") };
        let after = format!("{head}{BEGIN}\n{}\n\n{END}{tail}", features::markdown(summary));
        Ok(Self { path, before, after })
    }

    /// Whether the page says something else.
    pub(crate) fn is_stale(&self) -> bool {
        self.before != self.after
    }

    /// Writes the page.
    pub(crate) fn write(&self) -> Result<()> {
        Ok(hooklab_vm::host::write_whole(&self.path, self.after.as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use hooklab_vm::event::Facts;
    use hooklab_vm::qemu::accelerator::Accelerator;

    use super::*;
    use hooklab::report::summary::{Kernel, SCHEMA};

    fn summary(facts: Option<Facts>) -> Summary {
        let kernels = vec![Kernel { facts, ..Kernel::unknown("6.12") }];
        Summary { schema: SCHEMA, shard: None, accelerator: Accelerator::Tcg, wall_seconds: 0.0, kernels }
    }

    #[test]
    fn only_what_is_between_the_marks_is_made_and_made_once() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("docs")).unwrap();
        let path = root.path().join(PAGE);
        let text = |made: &str| format!("before\n{BEGIN}{made}{END}after\n");
        fs::write(&path, text("old")).unwrap();
        let facts =
            Facts { btf: true, tracefs: true, bpf_lsm: false, bpf_jit: true, kprobes: true, fentry: true };
        let page = Page::new(root.path(), &summary(Some(facts))).unwrap();
        assert!(page.is_stale());
        page.write().unwrap();
        let written = fs::read_to_string(&path).unwrap();
        assert!(written.starts_with("before\n") && written.ends_with("after\n"), "{written}");
        assert!(written.contains("| 6.12   | -       | yes | yes     | no      |"), "{written}");
        assert!(!Page::new(root.path(), &summary(Some(facts))).unwrap().is_stale());
        assert!(
            Page::new(root.path(), &summary(None)).is_err_and(|error| error.to_string().contains("6.12"))
        );
        fs::write(&path, "no marks").unwrap();
        assert!(Page::new(root.path(), &summary(Some(facts))).is_err());
    }
}
