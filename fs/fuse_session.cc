#include "fs/fuse_session.h"

#include "fs/fuse_ops.h"
#include "fs/fuse_server.h"

namespace secretfs::fs {
namespace {

class ServedSession final : public FuseSession {
 public:
  ServedSession(Tree& tree, Callers& callers) : filesystem_{.tree = tree, .callers = callers} {}

  Status Serve(UniqueFd fuse_device, const Options& options) {
    TRY_ASSIGN(server_, FuseServer::Create(std::move(fuse_device), FuseOperations(), &filesystem_));
    filesystem_.session = server_->session();
    return server_->Run(options.reader_threads);
  }

  int ended_fd() const override { return server_->ended_fd(); }
  void Join() override { server_->Join(); }

 private:
  FuseFilesystem filesystem_;
  std::unique_ptr<FuseServer> server_;  // Ends before what it serves.
};

}  // namespace

Result<std::unique_ptr<FuseSession>> FuseSession::Start(UniqueFd fuse_device, Tree& tree,
                                                        Callers& callers, const Options& options) {
  auto session = std::make_unique<ServedSession>(tree, callers);
  TRY(session->Serve(std::move(fuse_device), options));
  return session;
}

}  // namespace secretfs::fs
