#pragma once

#include "storage/faulty_store.hpp"
#include "tests/actors/scratch.hpp"
#include "tests/actors/stage.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

/// A whole node, some clients and everything that can go wrong, out of one seed: requests and
/// answers get lost or come twice, the disk says no or does not say, the node crashes, streams
/// leave memory, the clock jumps, and every actor's turn is chosen by chance. Clients repeat
/// what they do not know the outcome of under the same command id. In the end four laws must hold.
namespace recalld::tests {

/// A law was broken; says which, and what of.
struct law_broken : std::runtime_error {
  law_broken(int number, const std::string& what)
    : std::runtime_error("law " + std::to_string(number) + ": " + what), law(number) {}
  int law;
};

/// Bugs that a test plants, to see that the laws find them.
enum class planted {
  nothing,
  forgetful_disk,   ///< A crash takes the last acknowledged commit with it.
  no_receipts,      ///< Units are written without their command ids.
  torn_unit,        ///< Of a unit only the first part is written.
  version_gap,      ///< A stream's fact has a version too high.
  ignored_version,  ///< The expected version gets lost on its way.
  other_rows,       ///< A projected row is not what the log says.
  lost_request,     ///< Somebody inside the node takes a request and never answers.
  blind_watch,      ///< A watcher is not told of one commit.
};

struct world_options {
  planted bug = planted::nothing;
  bool sqlite = false;
  std::size_t steps = 1'200;
};

class world {
public:
  explicit world(std::uint64_t seed, world_options o = {});
  ~world();

  /// Runs to the end and checks the laws; throws `law_broken`.
  void run();

  /// What happened, for a person who wonders whether the seeds do anything at all.
  struct figures {
    std::uint64_t operations = 0, acknowledged = 0, refused = 0, duplicates = 0, crashes = 0,
                  facts = 0, retries = 0;
  };
  const figures& count() const { return count_; }

private:
  /// One thing that a client wants done, however often it has to ask.
  struct wish {
    std::string operation;
    json request;
    std::string command;  ///< Empty: a read.
    std::string stream;   ///< Session name, for reads that must see writes.
    std::optional<version_t> expected;
    std::string scope_key;            ///< An `app:` key that this command alone sets.
    std::set<std::string> entry_ids;  ///< Ids that this command alone uses.
    struct question {
      letter_ptr<answer> letter;
      bool after_receipt = false;  ///< Asked when a receipt had come already.
    };
    std::vector<question> open;  ///< Asked of the present node.
    bool sure = false;           ///< An answer came that settles it.
    bool acknowledged = false;
    bool refused = false;
    bool lost = false;      ///< Some answer will never come.
    std::size_t asked = 0;  ///< How often.
    version_t version = 0;
    position_t position = 0;
    version_t floor = 0;  ///< A read must see at least this version.
  };
  using wish_ptr = std::shared_ptr<wish>;

  std::uint64_t chance(std::uint64_t n) { return random_() % n; }
  bool one_in(std::uint64_t n) { return chance(n) == 0; }

  void open_node();
  void crash();
  void turn();
  void begin();
  wish_ptr write(std::string operation, json request);
  void ask(const wish_ptr& one);
  void collect(bool all);
  void settle(wish& one, const answer& a, bool after_receipt);
  void watch();
  void finish();
  void check();
  void check_writes(const std::vector<recorded>& log);
  void check_streams(const std::vector<recorded>& log);
  void check_rows();
  void check_watch(const std::vector<recorded>& log);
  std::unique_ptr<storage::store> open_disk();

  world_options options_;
  std::uint64_t seed_;
  std::mt19937_64 random_;
  bool calm_ = false;  ///< Nothing goes wrong any more.
  time_us_t now_ = stage::first_moment;
  std::shared_ptr<storage::model_disk> disk_;
  std::unique_ptr<scratch_directory> directory_;
  std::unique_ptr<scratch_directory> cache_;
  std::unique_ptr<stage> node_;
  std::uint64_t opened_ = 0;
  std::vector<wish_ptr> wishes_;
  std::vector<wish_ptr> unsettled_;
  std::uint64_t next_id_ = 0;
  std::map<std::string, version_t> acknowledged_;  ///< Highest version a client knows, by session.
  std::vector<std::string> sessions_;
  figures count_;

  caf::actor sink_;
  std::string cursor_;
  std::string heard_;  ///< What was wrong with what a watcher was told.
  position_t watched_ = 0;
  std::set<position_t> watched_all_;
  bool blinded_ = false;                           ///< The planted bug did its work.
  std::shared_ptr<storage::model_log> forgotten_;  ///< What a forgetful disk goes back to.
};

/// Compares the log's rows with a replay from nothing, with an independent program. Empty: equal.
std::string difference_to_replay(storage::store& store);

}  // namespace recalld::tests
