// Reads files as programs do and prints how many it managed in a second.
//
//   read_client SECONDS THREADS PATH...
//
// Each thread goes round the paths with open, fstat, one read of the whole file, close.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

// Ends the process when a read is not what the file's size promises: a fast wrong answer is no
// result.
void ReadOnce(const char* path, std::vector<char>& buffer) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat attributes{};
  if (fd < 0 || fstat(fd, &attributes) != 0 ||
      read(fd, buffer.data(), buffer.size()) != attributes.st_size || attributes.st_size == 0) {
    std::perror(path);
    std::exit(1);
  }
  close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: %s SECONDS THREADS PATH...\n", argv[0]);
    return 2;
  }
  double seconds = std::atof(argv[1]);
  size_t threads = std::strtoul(argv[2], nullptr, 10);
  std::span<char*> paths(argv + 3, static_cast<size_t>(argc - 3));

  std::atomic<bool> stop{false};
  std::atomic<uint64_t> total{0};
  auto start = Clock::now();
  std::vector<std::thread> readers;
  for (size_t t = 0; t < threads; ++t) {
    readers.emplace_back([&, t] {
      std::vector<char> buffer(128 << 10);
      uint64_t reads = 0;
      for (size_t i = t; !stop; ++i, ++reads) ReadOnce(paths[i % paths.size()], buffer);
      total += reads;
    });
  }
  auto deadline = start + std::chrono::duration<double>(seconds);
  std::this_thread::sleep_until(deadline);
  stop = true;
  for (std::thread& reader : readers) reader.join();
  std::chrono::duration<double> elapsed = Clock::now() - start;
  std::printf("%.0f\n", static_cast<double>(total) / elapsed.count());
  return 0;
}
