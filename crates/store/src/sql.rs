//! The macros that keep SQL static and known: `statements!` names texts, `args!` binds values.

/// The first text after everything that begins with `folder`, which ends in a slash: `0` follows `/`.
pub(crate) fn after_folder(folder: &str) -> String {
    format!("{}0", folder.strip_suffix('/').unwrap_or(folder))
}

/// Declares SQL texts as constants and collects them in `STATEMENTS`.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:literal;)*) => {
        $($(#[$doc])* const $name: &str = $sql;)*
        /// This module's statements by name.
        pub(crate) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}

/// Values for `$1, $2, …`, each by `Into<Value>`.
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::row::Value::from($value)),*] };
}

pub(crate) use {args, statements};
