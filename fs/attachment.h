#pragma once

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <utility>

#include "crypto/base/unique_fd.h"

namespace secretfs::fs {

// Room for one descriptor beside a message of a Unix socket (cmsg(3), SCM_RIGHTS).
class Attachment {
 public:
  // `message` then carries `fd`; this must outlive the sending.
  void AddTo(msghdr& message, int fd) {
    MakeRoom(message);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }

  // `message` can then receive one.
  void MakeRoom(msghdr& message) {
    message.msg_control = room_.data();
    message.msg_controllen = room_.size();
  }
  // What came with `message`, which was received into the room; invalid: nothing. Of several, the
  // first; none is left open.
  static UniqueFd TakeFrom(msghdr& message) {
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
      return {};
    }
    UniqueFd first;
    for (size_t at = 0; CMSG_LEN(at + sizeof(int)) <= header->cmsg_len; at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + at, sizeof fd);
      UniqueFd received(fd);
      if (!first.valid()) first = std::move(received);
    }
    return first;
  }

 private:
  alignas(cmsghdr) std::array<unsigned char, CMSG_SPACE(sizeof(int))> room_{};
};

}  // namespace secretfs::fs
