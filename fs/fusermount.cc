#include "fs/fusermount.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <string_view>

#include "fs/attachment.h"

namespace secretfs::fs {
namespace {

constexpr const char* kProgram = "fusermount3";

struct Pair {
  UniqueFd ours;
  UniqueFd theirs;
};

// Both ends close on exec; Spawn() lets the child have its own.
Result<Pair> MakeSocketPair() {
  std::array<int, 2> ends;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return FailErrno(Code::kUnavailable, "make a socket pair", errno);
  }
  return Pair{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Result<Pair> MakePipe() {
  std::array<int, 2> ends;
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    return FailErrno(Code::kUnavailable, "make a pipe", errno);
  }
  return Pair{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// The child gets nothing of our environment or descriptors but the socket and, as its standard
// error, the pipe.
Result<pid_t> Spawn(const std::vector<std::string>& arguments, int socket, int standard_error) {
  std::string communication = "_FUSE_COMMFD=" + std::to_string(socket);
  std::string path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
  const std::array<char*, 3> environment{path.data(), communication.data(), nullptr};
  std::vector<std::string> words{kProgram};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  // Onto itself: clears close-on-exec in the child alone.
  posix_spawn_file_actions_adddup2(&actions, socket, socket);
  posix_spawn_file_actions_adddup2(&actions, standard_error, STDERR_FILENO);
  pid_t child = -1;
  const int error =
      posix_spawnp(&child, kProgram, &actions, nullptr, argv.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  if (error == ENOENT) {
    return Fail(Code::kUnavailable,
                "fusermount3 is not installed; install the package fuse3, or mount as root");
  }
  if (error != 0) return FailErrno(Code::kUnavailable, "run fusermount3", error);
  return child;
}

// The descriptor that the peer sends; none if it closes the socket instead.
UniqueFd ReceiveDescriptor(int socket) {
  char byte = 0;
  iovec data{&byte, 1};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  Attachment attachment;
  attachment.MakeRoom(message);
  ssize_t size;
  do {
    size = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  return size > 0 ? Attachment::TakeFrom(message) : UniqueFd();
}

std::string ReadAll(int pipe) {
  std::string text;
  std::array<char, 1024> chunk;
  while (true) {
    const ssize_t size = read(pipe, chunk.data(), chunk.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return text;
    text.append(chunk.data(), static_cast<size_t>(size));
  }
}

// "/usr/bin/fusermount3: no such thing\n..." gives "no such thing".
std::string Complaint(std::string_view text) {
  text = text.substr(0, text.find('\n'));
  const size_t name = text.find(kProgram);
  const size_t colon = name == std::string_view::npos ? name : text.find(": ", name);
  if (colon != std::string_view::npos) text.remove_prefix(colon + 2);
  return std::string(text.empty() ? "fusermount3 failed without a reason" : text);
}

}  // namespace

Result<FusermountResult> RunFusermount(const std::vector<std::string>& arguments) {
  TRY_ASSIGN(auto socket, MakeSocketPair());
  TRY_ASSIGN(auto pipe, MakePipe());
  TRY_ASSIGN(const pid_t child, Spawn(arguments, socket.theirs.get(), pipe.theirs.get()));
  // So that the child's end is the only one, and its death ends the waiting below.
  socket.theirs.Reset();
  pipe.theirs.Reset();

  FusermountResult result;
  result.device = ReceiveDescriptor(socket.ours.get());
  const std::string text = ReadAll(pipe.ours.get());
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    // Someone else waits for all children: what matters is known without the status.
    if (errno != EINTR) break;
  }
  result.succeeded = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (!result.succeeded) result.message = Complaint(text);
  return result;
}

}  // namespace secretfs::fs
