#include "actors/node.hpp"

#include "actors/directory.hpp"
#include "actors/embedder.hpp"
#include "actors/feed.hpp"
#include "actors/gateway_actor.hpp"
#include "actors/journal.hpp"
#include "actors/lease_keeper.hpp"
#include "actors/projector.hpp"
#include "actors/prompter.hpp"
#include "actors/reader.hpp"
#include "actors/searcher.hpp"
#include "actors/supervisor.hpp"
#include "actors/system_zones.hpp"
#include "actors/timers.hpp"

#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <caf/openssl/all.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

// What happens if an actor dies
//
//   journals, readers, searcher, directory, feed, timers, gateway, lease keeper: the node is nothing
//     without any of them.
//     The node says so once (`on_fatal`); the process ends and starts again from the log.
//   supervisor, prompter: hold nothing that is not in the log; the node starts another one at
//     once.
//   projector: a rebuild that it had begun is lost, the live tables stay; the next start decides.
//   companions: what they were doing is due again when its lease is over.
//   aggregate actors: end only when the directory asks. One that raises is a bug: fatal as well.
//
// Order of the end
//
//   companions -> faces (nothing new enters) -> gateway (what entered is answered) -> timers,
//   supervisor, prompter -> directory (every stream leaves its snapshot) -> feed -> journals -> lease
//   -> readers -> store.

namespace recalld::actors {

using namespace std::chrono_literals;

struct node::parts {
  explicit parts(caf::actor_system& s) : system(s) {}

  caf::actor_system& system;
  std::unique_ptr<storage::store> store;
  surroundings_ptr around = std::make_shared<surroundings>();
  std::shared_ptr<storage::log_lease> lease;
  caf::actor keeper;
  caf::actor timers;
  std::recursive_mutex kept_lock;
  caf::actor supervisor;
  caf::actor prompter;
  caf::actor memory_embedder;
  std::vector<caf::actor> companions;
  std::shared_ptr<std::atomic<bool>> leave = std::make_shared<std::atomic<bool>>(false);
  gateway_handle gateway;
  std::vector<std::uint16_t> plain_ports;
  std::vector<std::uint16_t> tls_ports;
  bool threads = true;
  bool stopped = false;

  template <class F, class... Ts>
  caf::actor spawn_blocking(F f, Ts&&... xs) {
    if (threads)
      return system.spawn<caf::detached>(f, std::forward<Ts>(xs)...);
    return system.spawn(f, std::forward<Ts>(xs)...);
  }

  /// Starts an actor that holds nothing, and another one whenever it dies. May be called from any
  /// thread.
  template <class Role>
  void keep(caf::actor parts::*place, Role role) {
    std::lock_guard guard{kept_lock};
    if (around->ending)
      return;
    this->*place = system.spawn(role, around);
    caf::actor_cast<caf::abstract_actor*>(this->*place)
      ->attach_functor([this, place, role, a = around](const caf::error&) {
        if (!a->ending)
          keep(place, role);
      });
  }

  /// The node cannot do without this one.
  template <class Handle>
  void hold(const Handle& handle, std::string role) {
    auto a = around;
    caf::actor_cast<caf::abstract_actor*>(handle)->attach_functor(
      [a, role = std::move(role)](const caf::error& reason) {
        if (!a->ending)
          a->fatal(role + " is gone: " + caf::to_string(reason));
      });
  }
};

namespace {

std::function<void(const std::string&)> once(std::function<void(const std::string&)> tell) {
  if (!tell)
    tell = [](const std::string& why) {
      std::fprintf(stderr, "recalld: ending at once: %s\n", why.c_str());
      std::_Exit(70);
    };
  auto told = std::make_shared<std::atomic<bool>>(false);
  return [tell = std::move(tell), told](const std::string& why) {
    if (!told->exchange(true))
      tell(why);
  };
}

time_us_t system_clock_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
           std::chrono::system_clock::now().time_since_epoch())
    .count();
}

bool is_loopback(std::string_view address) {
  return address == "localhost" || address == "::1" || address.starts_with("127.");
}

}  // namespace

node::node(std::unique_ptr<parts> p) : parts_(std::move(p)) {}

node::~node() { stop(); }

const gateway_handle& node::gateway() const { return parts_->gateway; }

result<std::unique_ptr<node>> node::start(caf::actor_system& system, node_options options) {
  auto p = std::make_unique<parts>(system);
  p->store = std::move(options.store);
  p->threads = options.threads;
  auto& writer = p->store->writer();
  auto& around = *p->around;
  around.limits = options.limits;
  around.name = options.name;
  around.log = writer.identity();
  around.clock = options.clock ? options.clock : system_clock_us;
  around.zones = &system_zones();
  around.fatal = once(std::move(options.on_fatal));

  p->lease = std::move(options.lease);
  if (!p->lease) {
    auto lease = p->store->open_lease(options.name);
    if (!lease)
      return fail(lease.error());
    p->lease = std::move(*lease);
  }
  if (p->lease) {
    const auto standing = p->lease->hold(options.lease_length);
    if (!standing)
      return fail(standing.error());
    if (!standing->ours)
      return fail({errc::unavailable,
                   "the node " + standing->holder + " serves this log",
                   {},
                   0,
                   static_cast<std::uint32_t>(standing->left.count())});
  }
  // A start that fails from here on does not keep other nodes waiting.
  std::unique_ptr<storage::log_lease, void (*)(storage::log_lease*)> give_back(
    p->lease.get(), [](storage::log_lease* held) { static_cast<void>(held->release()); });
  auto rights = writer.take_all();
  if (!rights)
    return fail(rights.error());
  auto outdated = writer.outdated_tables();
  if (!outdated)
    return fail(outdated.error());
  if (!outdated->empty())
    if (auto rebuilt = rebuild_now(*p->store, *outdated); !rebuilt)
      return fail(rebuilt.error());
  auto cache =
    storage::snapshot_cache::open(options.cache_directory, around.log, options.cache_bytes);
  if (!cache)
    return fail(cache.error());
  around.cache = std::move(*cache);
  if (!options.key_file.empty()) {
    auto keys = key_ring::open(options.key_file);
    if (!keys)
      return fail(keys.error());
    around.keys = std::move(*keys);
  }

  log_place heads;
  for (std::size_t i = 0; i < std::max<std::size_t>(1, options.readers); ++i) {
    auto log = p->store->open_reader();
    if (!log)
      return fail(log.error());
    if (i == 0) {
      auto at = (*log)->heads();
      if (!at)
        return fail(at.error());
      heads = std::move(*at);
    }
    around.readers.push_back(
      p->spawn_blocking(reader, p->around, std::shared_ptr<storage::log_reader>(std::move(*log))));
    p->hold(around.readers.back(), "reader");
  }
  around.shard_of = [&writer](const stream_id& stream) { return writer.shard_of(stream); };
  const auto writers = p->store->writers();
  for (std::size_t i = 0; i < writers.size(); ++i) {
    around.journals.push_back(p->spawn_blocking(journal, p->around, writers[i], *rights,
                                                rights_of_journal(*rights, i, writers.size())));
    p->hold(around.journals.back(), "journal");
  }
  auto search_log = p->store->open_reader();
  if (!search_log)
    return fail(search_log.error());
  around.searcher = p->spawn_blocking(searcher, p->around,
                                      std::shared_ptr<storage::log_reader>(std::move(*search_log)));
  p->hold(around.searcher, "searcher");
  if (options.embedding_model.open) {
    around.embedding_model = options.embedding_model.name;
    around.question_embedder = p->spawn_blocking(
      question_embedder, p->around, options.embedding_model.open(), options.embedding_patience);
  }
  auto rebuild_log = p->store->open_reader();
  if (!rebuild_log)
    return fail(rebuild_log.error());
  if (p->lease) {
    p->keeper = p->spawn_blocking(lease_keeper, p->around, p->lease, options.lease_length);
    p->hold(p->keeper, "lease keeper");
  }
  around.projector = system.spawn(projector, p->around, &writer,
                                  std::shared_ptr<storage::log_reader>(std::move(*rebuild_log)));
  around.feed = system.spawn(feed, p->around, std::move(heads));
  p->hold(around.feed, "feed");
  around.directory = system.spawn(directory, p->around);
  p->hold(around.directory, "directory");
  p->timers = system.spawn(timers, p->around);
  p->hold(p->timers, "timers");
  if (options.embedding_model.open)
    p->memory_embedder =
      p->spawn_blocking(memory_embedder, p->around, options.embedding_model.open());
  p->keep(&parts::supervisor, actors::supervisor);
  p->keep(&parts::prompter, actors::prompter);
  p->gateway = system.spawn(actors::gateway, p->around, options.operations);
  p->hold(p->gateway, "gateway");
  for (auto& each : options.companions)
    p->companions.push_back(system.spawn<caf::detached>(
      [each = std::move(each), &system, gateway = p->gateway,
       leave = p->leave](caf::blocking_actor*) { each(system, gateway, *leave); }));
  static_cast<void>(give_back.release());
  return std::unique_ptr<node>(new node(std::move(p)));
}

result<std::uint16_t> node::publish(const std::string& address, std::uint16_t port, bool tls) {
  auto& system = parts_->system;
  if (!tls && !is_loopback(address))
    return fail_field("address",
                      "without TLS the node listens on loopback addresses only, not on " + address);
  if (tls ? !system.has_openssl_manager() : !system.has_middleman())
    return fail(errc::invalid, "the actor system was started without its network module");
  auto bound = tls ? caf::openssl::publish(parts_->gateway, port, address.c_str(), true)
                   : caf::io::publish(parts_->gateway, port, address.c_str(), true);
  if (!bound)
    return fail(errc::unavailable, "cannot listen on " + address + ":" + std::to_string(port) + ": "
                                     + system.render(bound.error()));
  (tls ? parts_->tls_ports : parts_->plain_ports).push_back(*bound);
  return *bound;
}

void node::stop() {
  auto& p = *parts_;
  if (p.stopped)
    return;
  p.stopped = true;
  auto& around = *p.around;
  caf::scoped_actor self{p.system};
  *p.leave = true;
  for (const auto& each : p.companions)
    self->wait_for(each);
  const auto unpublish = [&](const caf::io::middleman_actor& by, std::uint16_t port) {
    self
      ->request(by, 5s, caf::unpublish_atom::value, caf::actor_cast<caf::actor_addr>(p.gateway),
                port)
      .receive([] {}, [](const caf::error&) {});  // A port that is closed already is closed.
  };
  for (auto port : p.plain_ports)
    unpublish(p.system.middleman().actor_handle(), port);
  for (auto port : p.tls_ports)
    unpublish(p.system.openssl_manager().actor_handle(), port);
  around.ending = true;
  // What was accepted is answered; a disk that hangs does not hold up the end for ever.
  for (auto waited = 0ms; around.requests > 0 && waited < 10s; waited += 5ms)
    std::this_thread::sleep_for(5ms);

  const auto end = [&](const auto& handle) {
    self->send_exit(handle, caf::exit_reason::user_shutdown);
    self->wait_for(handle);
  };
  end(p.gateway);
  end(p.timers);
  for (auto place : {&parts::supervisor, &parts::prompter}) {
    caf::actor last;
    {
      std::lock_guard guard{p.kept_lock};
      last = std::move(p.*place);
    }
    if (last)
      end(last);
  }
  for (auto& embedder : {p.memory_embedder, around.question_embedder})
    if (embedder)
      end(embedder);
  self->request(around.directory, 30s, leave_atom::value).receive([] {}, [](const caf::error&) {});
  end(around.directory);
  end(around.feed);
  end(around.projector);
  for (auto& j : around.journals)
    end(j);
  if (p.keeper) {
    end(p.keeper);
    // The next node need not wait until the lease is over; if it cannot be told, it waits.
    static_cast<void>(p.lease->release());
  }
  for (auto& r : around.readers)
    end(r);
  end(around.searcher);
  // Whoever still holds a handle of the gateway keeps the surroundings, not what is open on disk.
  around.cache.reset();
  // Handles in the surroundings keep each other alive: let go of them.
  around.journals.clear();
  around.directory = around.feed = around.projector = nullptr;
  around.searcher = around.question_embedder = nullptr;
  around.readers.clear();
  p.gateway = nullptr;
  p.timers = nullptr;
  p.store.reset();
}

}  // namespace recalld::actors
