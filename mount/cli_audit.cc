#include <CLI/CLI.hpp>
#include <memory>

#include "mount/cli_verbs.h"

namespace secretfs::mount {
namespace {

constexpr int64_t kEventsDefault = 50;
constexpr int64_t kEventsMax = 1000;

struct AuditOptions {
  bool verify = false;
  int64_t limit = kEventsDefault;
};

Status Verify(Cli& cli) {
  TRY_ASSIGN(const AwsClient client, cli.Client());
  TRY_ASSIGN(const AwsAnswer answer, client.VerifyAudit());
  TRY_ASSIGN(const AuditVerdict verdict, ParseAuditVerdict(answer));
  if (!verdict.intact) {
    if (cli.json) TRY(cli.Print(answer, ""));
    return Fail(Code::kCorrupt, verdict.problem + "; keep a copy of the audit directory as it is");
  }
  return cli.Print(answer, "intact: " + std::to_string(verdict.events) + " events in " +
                               std::to_string(verdict.segments) + " segments, head " +
                               verdict.head_hash + "\n");
}

Status ShowEvents(Cli& cli, int64_t limit) {
  TRY_ASSIGN(const AwsClient client, cli.Client());
  TRY_ASSIGN(const AwsAnswer answer, client.ListAuditEvents(limit));
  TRY_ASSIGN(const std::vector<AuditLine> events, ParseAuditEvents(answer));
  std::vector<std::vector<std::string>> rows;
  for (const AuditLine& event : events) {
    rows.push_back({std::to_string(event.sequence), event.time, event.principal, event.door,
                    event.event, event.secret, event.version,
                    event.error.empty() ? "ok" : event.error});
  }
  return cli.Print(answer, FormatTable({"EVENT", "TIME", "PRINCIPAL", "DOOR", "ACTION", "SECRET",
                                        "VERSION", "RESULT"},
                                       rows, cli.terminal.output_is_terminal()));
}

}  // namespace

void AddAuditVerbs(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<AuditOptions>();
  CLI::App* sub = app.add_subcommand("audit", "Show who did what, or check the trail");
  sub->add_flag("--verify", options->verify, "Check that no event was changed, cut or reordered");
  sub->add_option("--limit", options->limit, "How many of the newest events, 1 to 1000")
      ->check(CLI::Range(int64_t{1}, kEventsMax))
      ->type_name("N");
  sub->callback([&cli, options] {
    cli.subject = options->verify ? "audit --verify" : "audit";
    cli.run = [&cli, options] {
      return options->verify ? Verify(cli) : ShowEvents(cli, options->limit);
    };
  });
}

}  // namespace secretfs::mount
