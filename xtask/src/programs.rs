//! Looking up programs in `PATH`, as a shell would.

use std::env;
use std::path::{Path, PathBuf};

/// The first file of that name in the folders of `PATH`.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let folders: Vec<PathBuf> = env::split_paths(&env::var_os("PATH")?).collect();
    find_in(&folders, name)
}

fn find_in(folders: &[PathBuf], name: &str) -> Option<PathBuf> {
    folders
        .iter()
        .map(|folder| folder.join(name))
        .find(|path| is_program(path))
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file() || path.with_extension("exe").is_file()
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_executable_files_count_and_the_first_wins() {
        let folder = tempfile::tempdir().unwrap();
        let folders = [folder.path().join("a"), folder.path().join("b")];
        for (folder, mode) in folders.iter().zip([0o644, 0o755]) {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("tool"), "").unwrap();
            fs::set_permissions(folder.join("tool"), fs::Permissions::from_mode(mode)).unwrap();
        }
        assert_eq!(find_in(&folders, "tool"), Some(folders[1].join("tool")));
        assert_eq!(find_in(&folders, "other"), None);
    }
}
