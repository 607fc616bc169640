#include "fs/fuse_session.h"

#include "fs/follower.h"
#include "fs/fuse_ops.h"
#include "fs/fuse_server.h"

namespace secretfs::fs {

struct FuseSession::Served {
  FuseFilesystem filesystem;
  std::unique_ptr<Follower> follower;  // Uses the server's device, and the server's threads it.
  std::unique_ptr<FuseServer> server;

  ~Served() {
    if (follower != nullptr) follower->End();
  }
};

FuseSession::FuseSession(std::unique_ptr<Served> served) : served_(std::move(served)) {}
FuseSession::~FuseSession() = default;

Result<std::unique_ptr<FuseSession>> FuseSession::Start(UniqueFd fuse_device, SharedState& state,
                                                        store::SecretService& service, Tree& tree,
                                                        Callers& callers, Options options) {
  auto served =
      std::unique_ptr<Served>(new Served{.filesystem = {.tree = tree,
                                                        .callers = callers,
                                                        .state = state,
                                                        .refuse_mapping = options.refuse_mapping,
                                                        .pages_cached = {}},

                                         .follower = nullptr,
                                         .server = nullptr});
  TRY_ASSIGN(served->server, FuseServer::Create(std::move(fuse_device), state,
                                                {.operations = FuseOperations(),
                                                 .userdata = &served->filesystem,
                                                 .resend = options.resend}));
  served->filesystem.session = served->server->session();
  served->follower = std::make_unique<Follower>(service, tree, served->server->notices(), state,
                                                std::move(options.helper));
  served->filesystem.pages_cached = [follower = served->follower.get()](uint64_t node) {
    return follower->DropPagesOf(node);
  };
  TRY(served->server->Run(options.reader_threads));
  return std::unique_ptr<FuseSession>(new FuseSession(std::move(served)));
}

int FuseSession::ended_fd() const {
  return served_->server->ended_fd();
}

void FuseSession::Join() {
  served_->server->Join();
}

void FuseSession::Stop() {
  served_->follower->End();  // First: what it waits for is served until here.
  served_->server->Stop();
}

bool FuseSession::kernel_can_resend() const {
  return served_->server->kernel_can_resend();
}

}  // namespace secretfs::fs
