#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "crypto/base/result.h"
#include "crypto/random.h"
#include "mount/aws_client.h"
#include "mount/aws_kms_client.h"
#include "mount/settings.h"
#include "mount/terminal.h"

namespace CLI {
class App;
}

namespace secretfs::mount {

// What every verb works with. A verb's parser fills in its own options and sets `run` and
// `subject`.
struct Cli {
  Terminal& terminal;
  const Environment& environment;
  crypto::RandomSource& random;

  PlaceFlags places;
  bool json = false;

  // What the command is about, for the error line: "get prod/db".
  std::string subject;
  // The verb's words if they are more than the subject's first: "key alias create".
  std::string verb;
  std::function<Status()> run;

  Result<Config> Settings() const { return ResolveConfig(places, environment); }
  // A client of the daemon that the settings name.
  Result<AwsClient> Client() const;
  Result<KmsClient> Kms() const;
  // With --json the answer as it came, else `text`.
  Status Print(const AwsAnswer& answer, const std::string& text);
  // A remark for a person at a terminal; nothing for a script.
  void Note(const std::string& text);
};

// "NAME=VALUE" of `what`, which is given `how`: ("tag", "with --tag"). Errors: kInvalidArgument.
Result<std::map<std::string, std::string>> ParsePairs(const std::vector<std::string>& texts,
                                                      const std::string& what,
                                                      const std::string& how);

// Each adds its verbs to the parser. `cli` must outlive the parser.
void AddStoreVerbs(CLI::App& app,
                   Cli& cli);  // init, mount, umount, status: cli_store.cc, cli_mount.cc
void AddMountVerbs(CLI::App& app, Cli& cli);
void AddValueVerbs(CLI::App& app, Cli& cli);  // put, get
void AddSecretVerbs(CLI::App& app,
                    Cli& cli);                // ls, describe, history, label, rollback, rm, restore
void AddKeyVerbs(CLI::App& app, Cli& cli);    // key: cli_key.cc
void AddRekeyVerb(CLI::App& app, Cli& cli);   // rekey
void AddAuditVerbs(CLI::App& app, Cli& cli);  // audit

}  // namespace secretfs::mount
