"""Each lint can fail: bad snippets in a scratch tree, and good ones beside them."""

import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import bans_lint
import budgets_lint
import dependencies_lint
import format_lint
import privacy_lint
import source_tree
import sources_lint


class LintTest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = scratch.name

    def write(self, files: dict[str, str]) -> None:
        for path, text in files.items():
            full = os.path.join(self.root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as file:
                file.write(text)

    def findings(self, lint, files: dict[str, str]) -> list[str]:
        self.write(files)
        return [str(finding) for finding in lint.check(source_tree.SourceTree(self.root))]

    def assert_finds(self, lint, files: dict[str, str], *expected: str) -> None:
        found = self.findings(lint, files)
        self.assertEqual(len(expected), len(found), found)
        for text in expected:
            self.assertTrue(any(text in finding for finding in found), (text, found))

    def assert_clean(self, lint, files: dict[str, str]) -> None:
        self.assertEqual([], self.findings(lint, files))


class CodeOnlyTest(unittest.TestCase):
    def test_blanks_comments_and_literals_and_keeps_lines(self):
        text = 'a /* b\nc */ "d\\"e" R"x(f\n)y")x" \'"\' 1\'000 // g "h\ni'
        code = source_tree.code_only(text)
        self.assertEqual(text.count("\n"), code.count("\n"))
        for gone in "bcdefgh":
            self.assertNotIn(gone, code)
        self.assertIn("1'000", code)
        self.assertTrue(code.endswith("\ni"))


class DependenciesLintTest(LintTest):
    def test_arrows_point_left(self):
        headers = {f"{room}/a.h": "" for room in source_tree.ROOMS}
        self.assert_clean(dependencies_lint, headers | {"mount/b.cc": '#include "crypto/a.h"\n'})
        bad = {"store/b.cc": '#include "crypto/a.h"\n#include "fs/a.h"\n'}
        self.assert_finds(dependencies_lint, bad, "store/b.cc:2: fs/ is not visible here")

    def test_product_never_includes_tests(self):
        files = {"tests/support/a.h": "", "mount/b.cc": '#include "tests/support/a.h"\n'}
        self.assert_finds(dependencies_lint, files, "mount/b.cc:1: tests/ is not visible")

    def test_a_room_s_tests_see_what_the_room_sees(self):
        files = {"store/a.h": "", "tests/crypto/b.cc": '#include "store/a.h"\n'}
        self.assert_finds(dependencies_lint, files, "tests/crypto/b.cc:1: store/ is not visible")

    def test_includes_start_at_the_root(self):
        files = {"crypto/a.h": "", "crypto/b.cc": '#include "a.h"\n'}
        self.assert_finds(dependencies_lint, files, 'crypto/b.cc:1: "a.h" is no file')

    def test_third_party_headers_stay_in_their_files(self):
        rules = [
            ("openssl/evp.h", "crypto/a.cc", "crypto/a.h"),
            ("argon2.h", "crypto/a.cc", "store/a.cc"),
            ("lmdb.h", "store/lmdb_env.cc", "store/lmdb_env.h"),
            ("nlohmann/json.hpp", "store/secret_json.h", "store/secret.h"),
            ("nlohmann/json.hpp", "mount/aws_secret.cc", "mount/cli.cc"),
            ("fuse_lowlevel.h", "fs/fuse_session.cc", "fs/tree.cc"),
            ("fuse3/fuse_lowlevel.h", "fs/fuse_session.h", "mount/daemon.cc"),
            ("toml++/toml.h", "mount/config.cc", "mount/config.h"),
            ("microhttpd.h", "mount/http_server.cc", "mount/aws_secret.cc"),
            ("CLI/CLI.hpp", "mount/cli_secret.cc", "mount/daemon.cc"),
            ("systemd/sd-daemon.h", "mount/daemon.cc", "fs/tree.cc"),
            ("gtest/gtest.h", "tests/fs/tree_test.cc", "fs/tree.cc"),
            ("boost/asio.hpp", None, "mount/daemon.cc"),
        ]
        for header, good, bad in rules:
            with self.subTest(header=header, bad=bad):
                include = f"#include <{header}>\n"
                if good:
                    self.assert_clean(dependencies_lint, {good: include})
                self.assert_finds(dependencies_lint, {bad: include}, f"{bad}:1: <{header}>")
                self.write({bad: ""})

    def test_system_headers_are_open_to_all(self):
        text = "#include <unistd.h>\n#include <sys/mman.h>\n#include <span>\n"
        self.assert_clean(dependencies_lint, {"fs/a.cc": text})

    def test_the_one_door(self):
        files = {"store/secret_store.h": "", "fs/a.cc": '#include "store/secret_store.h"\n'}
        self.assert_finds(dependencies_lint, files, "fs/a.cc:1: store/secret_store.h is behind")
        files = {"fs/a.cc": "", "store/b.cc": '#include "store/secret_store.h"\n'}
        self.assert_clean(dependencies_lint, files)

    def test_circular_includes(self):
        files = {
            "fs/a.h": '#include "fs/b.h"\n',
            "fs/b.h": "",
            "fs/b.cc": '#include "fs/b.h"\n#include "fs/c.h"\n',
            "fs/c.h": '#include "fs/a.h"\n',
        }
        self.assert_finds(dependencies_lint, files, "circular includes fs/a -> fs/b -> fs/c")

    def test_base_is_a_closed_list(self):
        self.assert_clean(dependencies_lint, {"crypto/base/log.cc": ""})
        self.assert_finds(dependencies_lint, {"crypto/base/text.h": ""}, "crypto/base/text.h:1:")

    def test_commented_includes_do_not_count(self):
        self.assert_clean(dependencies_lint, {"fs/a.cc": '// #include "mount/a.h"\n'})


class BansLintTest(LintTest):
    def test_code(self):
        rules = [
            ("auto t = std::chrono::system_clock::now();", "store/a.cc", "hidden clock"),
            ("auto t = time(nullptr);", "tests/fs/a.cc", "hidden clock"),
            ("clock_gettime(CLOCK_REALTIME, &now);", "mount/a.cc", "hidden clock"),
            ("int x = rand();", "store/a.cc", "hidden randomness"),
            ("std::random_device device;", "tests/fs/a.cc", "hidden randomness"),
            ("RAND_bytes(p, 12);", "crypto/a.cc", "hidden randomness"),
            ("std::thread(Run).detach();", "mount/a.cc", "detached thread"),
            ('const char* x = std::getenv("X");', "fs/a.cc", "the environment"),
            ('printf("x");', "fs/a.cc", "standard output"),
            ("std::cout << 1;", "mount/daemon.cc", "standard output"),
            ("std::fprintf(stdout, x);", "store/a.cc", "standard output"),
            ("GTEST_SKIP();", "tests/fs/a.cc", "switched-off test"),
            ("TEST(A, DISABLED_B) {}", "tests/fs/a.cc", "switched-off test"),
            ("std::this_thread::sleep_for(1s);", "tests/fs/a.cc", "a test that sleeps"),
        ]
        for code, path, what in rules:
            with self.subTest(code=code):
                self.assert_finds(bans_lint, {path: f"\n{code}\n"}, f"{path}:2: {what}")
                self.write({path: ""})

    def test_code_in_its_place(self):
        self.assert_clean(
            bans_lint,
            {
                "crypto/base/clock.cc": "clock_gettime(CLOCK_REALTIME, &now);\n",
                "crypto/random.cc": "getrandom(p, n, 0);\n",
                "mount/cli_get.cc": "std::cout << text;\n",
                "mount/config.cc": 'getenv("SECRETFS_STORE");\n',
                "fs/a.cc": 'std::snprintf(b, n, "%d", 1); // printf(\nauto s = "rand()";\n',
                "store/a.cc": "random.Fill(p); x.random(); created_time(0); fprintf(stderr, x);\n",
                "tests/support/wait_until.cc": "std::this_thread::sleep_for(pause);\n",
            },
        )

    def test_notes_for_later(self):
        for note in ("TODO", "FIXME", "XXX"):
            with self.subTest(note=note):
                self.assert_finds(bans_lint, {"fs/a.cc": f"// {note}: x\n"}, "fs/a.cc:1: a note")
        self.assert_clean(bans_lint, {"fs/a.cc": 'mkdtemp("/tmp/x.XXXXXX");\n'})

    def test_pragma_once(self):
        self.assert_clean(bans_lint, {"fs/a.h": "// Why.\n#pragma once\n"})
        self.assert_finds(bans_lint, {"fs/a.h": "// #pragma once\n"}, "#pragma once is missing")

    def test_drawers(self):
        for name in ("string_util.cc", "common.cc", "test_helpers.cc", "key_manager.cc"):
            with self.subTest(name=name):
                self.assert_finds(bans_lint, {f"fs/{name}": ""}, "is a drawer")
                os.remove(os.path.join(self.root, "fs", name))
        self.assert_clean(bans_lint, {"fs/commonality.cc": "", "fs/utilisation.cc": ""})

    def test_columns(self):
        wide = "// " + "x" * 98 + "\n"
        self.assert_finds(bans_lint, {"fs/a.cc": "\n" + wide}, "fs/a.cc:2: 101 columns")
        self.write({"fs/a.cc": ""})
        self.assert_finds(bans_lint, {"README.md": wide}, "README.md:1: 101 columns")
        exempt = {"README.md": "| " + wide + "```\n" + wide + "```\n", "tests/vectors/a.cc": wide}
        self.assert_clean(bans_lint, exempt)

    def test_columns_are_characters(self):
        self.assert_clean(bans_lint, {"fs/a.cc": "// " + "é" * 97 + "\n"})

    def test_top_level(self):
        self.assert_clean(bans_lint, {".gitignore": "", ".ci/run": "", "LICENSE": ""})
        self.assert_finds(bans_lint, {"docs/a.md": ""}, "docs does not belong at the top level")


class BudgetsLintTest(LintTest):
    LONG = "int F(int x) {\n" + "  x++;\n" * 69 + "}\n"  # 71 lines.

    def test_files(self):
        self.assert_clean(budgets_lint, {"fs/a.h": "\n" * 300, "fs/a.cc": "\n" * 600})
        files = {"fs/a.h": "\n" * 301, "fs/a.cc": "\n" * 601}
        self.assert_finds(budgets_lint, files, "fs/a.h has 301 lines", "fs/a.cc has 601 lines")

    def test_functions(self):
        files = {"fs/a.cc": "\n" + self.LONG}
        self.assert_finds(budgets_lint, files, "fs/a.cc:2: fs/a.cc:F has 71 lines")
        self.assert_clean(budgets_lint, {"fs/a.cc": self.LONG.replace("  x++;\n", "", 1)})

    def test_functions_are_found_in_scopes(self):
        text = """
namespace a::b {
class CAPABILITY("m") C : public D<int()> {
 public:
  explicit C(int x) : x_(x), y_{x} { Go(); }
  bool operator==(const C&) const = default;
  struct stat Stat() const noexcept {
    auto f = [](int y) {
      return y;
    };
  }

 private:
  int z_ = 0;
  std::vector<int> v_{1, 2};
};
enum class E : int { kA, kB };
constexpr int kTable[] = {1, 2};
template <typename T>
T Class::Name(T x)
    requires(true) {
#define BRACE {
  return x;  // }
}
TEST_F(ATest, DoesIt) {
  CHECK("}");
}
}  // namespace a::b
"""
        found = {f.name: f.lines for f in budgets_lint.functions(text)}
        self.assertEqual(5, found["Stat"])
        self.assertEqual(6, found["Class::Name"])
        self.assertEqual(3, found["ATest.DoesIt"])
        self.assertNotIn("C", {name for name, lines in found.items() if lines > 1})

    def test_allow_list(self):
        files = {"fs/a.cc": self.LONG, budgets_lint.ALLOWED: "# why\n71 fs/a.cc:F\n"}
        self.assert_clean(budgets_lint, files)
        loose = {budgets_lint.ALLOWED: "72 fs/a.cc:F\n"}
        self.assert_finds(budgets_lint, loose, "no longer needs 72 lines: write 71")
        stale = {"fs/a.cc": "", budgets_lint.ALLOWED: "71 fs/a.cc:F\n"}
        self.assert_finds(budgets_lint, stale, "no longer needs 71 lines: delete this line")

    def test_allow_list_never_grows(self):
        self.write({"fs/a.cc": self.LONG, budgets_lint.ALLOWED: "# none\n"})
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "a"]):
            subprocess.run(["git", "-C", self.root, *command], check=True)
        grown = {budgets_lint.ALLOWED: "71 fs/a.cc:F\n"}
        self.assert_finds(budgets_lint, grown, "fs/a.cc:F is new or larger: the list only shrinks")


class FormatLintTest(LintTest):
    def test_cpp(self):
        style = {".clang-format": "BasedOnStyle: Google\n"}
        self.assert_clean(format_lint, style | {"fs/a.cc": "int x = 1;\n"})
        step = "run clang-format-19 -i fs/b.cc"
        self.assert_finds(format_lint, {"fs/b.cc": "int  x=1 ;\n"}, step)

    def test_shell(self):
        self.assert_clean(format_lint, {"packaging/a": '#!/bin/bash\nls "$1"\n'})
        files = {"packaging/b": "#!/usr/bin/env bash\nls $1\n"}
        self.assert_finds(format_lint, files, "packaging/b:2:")


class PrivacyLintTest(LintTest):
    def test_private_names(self):
        rules = [
            ("cd /work/x", "a path of one machine"),
            ("cd /home/jane", "somebody's home"),
            ("FROM ghcr.io/a/b", "a package registry's host"),
            ("pip -i https://artifactory.example.org/x", "a package registry's host"),
            ("npm --registry https://registry.npmjs.org", "a package registry's host"),
        ]
        for text, what in rules:
            with self.subTest(text=text):
                files = {"packaging/a": "\n" + text + "\n"}
                self.assert_finds(privacy_lint, files, "packaging/a:2: " + what)

    def test_public_names(self):
        text = "FROM debian:12\n# homework/ /run/work/x secretsmanager.eu-west-1.amazonaws.com\n"
        self.assert_clean(privacy_lint, {"packaging/a": text})


class SourcesLintTest(LintTest):
    def test_lists_and_files_agree(self):
        lists = {
            "CMakeLists.txt": "room(\n  fs/a.cc # fs/c.cc\n)\n",
            "tests/CMakeLists.txt": "test(fs/a_test.cc)\n",
        }
        files = {"fs/a.cc": "", "tests/fs/a_test.cc": ""}
        self.assert_clean(sources_lint, lists | files)
        more = {"fs/c.cc": "", "tests/fs/b_test.cc": ""}
        found = ("fs/c.cc:1: is not built", "tests/fs/b_test.cc:1: is not built")
        self.assert_finds(sources_lint, more, *found)

    def test_lists_name_no_ghosts(self):
        files = {"CMakeLists.txt": "\nroom(fs/gone.cc)\n"}
        self.assert_finds(sources_lint, files, "CMakeLists.txt:2: fs/gone.cc does not exist")


if __name__ == "__main__":
    unittest.main()
