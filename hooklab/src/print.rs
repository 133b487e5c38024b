//! Printing that a reader who has gone away does not stop: `println!` would panic, `| head` is no error.

/// A line on standard output.
#[macro_export]
macro_rules! out {
    ($($argument:tt)*) => {{
        let _ = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{}\n", format_args!($($argument)*)));
    }};
}

/// A line on standard error.
#[macro_export]
macro_rules! err {
    ($($argument:tt)*) => {{
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{}\n", format_args!($($argument)*)));
    }};
}
