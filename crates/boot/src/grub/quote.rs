//! Words of a GRUB script.

/// One word that stands for this text, whatever it holds.
pub(super) fn word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A kernel argument as a word. GRUB itself puts double quotes around an
/// argument with blanks in it, and would escape those that are there, which no
/// kernel understands; so they go.
pub(super) fn kernel_arg(arg: &str) -> String {
    word(&arg.replace('"', ""))
}

/// The path of a file on the filesystem of `/boot`, found by the static script.
pub(super) fn boot_path(path: &str) -> String {
    format!("\"${{backstop_boot}}\"{}", word(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes() {
        assert_eq!(word("a b"), "'a b'");
        assert_eq!(word("it's $x"), r"'it'\''s $x'");
        assert_eq!(kernel_arg("a=\"b c\""), "'a=b c'");
        assert_eq!(boot_path("/k"), "\"${backstop_boot}\"'/k'");
    }
}
