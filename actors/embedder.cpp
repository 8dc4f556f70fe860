#include "actors/embedder.hpp"

#include "projections/projections.hpp"
#include "retrieval/vectors.hpp"

#include <caf/all.hpp>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <limits>

namespace recalld::actors {

using namespace std::chrono_literals;

namespace memories = projections::memories;
namespace vectors = projections::memory_vectors;

namespace {

constexpr std::size_t questions_max = 1'000;
constexpr auto down_for = 5s;

constexpr std::size_t page_size = 64;
constexpr auto idle_pause = 1s;
constexpr auto longest_pause = 60s;
constexpr auto page_patience = 60s;
constexpr std::size_t refused_max = 100'000;
// Models read a few hundred words; what is said behind them is found by its words.
constexpr std::size_t text_bytes_max = 8'000;

std::string beginning_of(std::string text) {
  if (text.size() > text_bytes_max) {
    auto end = text_bytes_max;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80)
      --end;
    text.resize(end);
  }
  return text;
}

const std::string& word(const projections::row& r, std::size_t column) {
  return std::get<std::string>(r[column]);
}

}  // namespace

// -- questions --

void question_embedder_state::start(surroundings_ptr around, embed_texts source,
                                    std::chrono::milliseconds patience) {
  around_ = std::move(around);
  source_ = std::move(source);
  patience_ = patience;
}

result<std::string> question_embedder_state::embed(const embed_question& wish) {
  if (const auto known = by_question_.find(wish.text); known != by_question_.end()) {
    asked_.splice(asked_.begin(), asked_, known->second);
    return known->second->second;
  }
  const auto now = std::chrono::steady_clock::now();
  if (down_ && now < up_again_)
    return fail(*down_);
  const auto left =
    std::chrono::duration_cast<std::chrono::milliseconds>(wish.asked_at + patience_ - now);
  if (left <= 0ms)
    return fail(errc::unavailable, "too many questions at once");
  const std::string text[] = {beginning_of(wish.text)};
  auto made = source_(text, left, around_->ending);
  if (!made) {
    // One question that is refused says nothing about the next.
    if (made.error().code != errc::rejected) {
      if (!down_)  // It is told once, not every time that it is tried again.
        spdlog::warn("no vectors of questions: {}", made.error().message);
      down_ = made.error();
      up_again_ = std::chrono::steady_clock::now() + down_for;
    }
    return fail(std::move(made.error()));
  }
  down_.reset();
  auto vector = retrieval::quantised(made->front());
  if (vector.empty())
    return fail(errc::corrupt, "the model gave a vector without a direction");
  asked_.emplace_front(wish.text, vector);
  by_question_.emplace(wish.text, asked_.begin());
  if (asked_.size() > questions_max) {
    by_question_.erase(asked_.back().first);
    asked_.pop_back();
  }
  return vector;
}

caf::behavior question_embedder(caf::stateful_actor<question_embedder_state>* self,
                                surroundings_ptr around, embed_texts source,
                                std::chrono::milliseconds patience) {
  self->state.start(std::move(around), std::move(source), patience);
  return {
    [self](const embed_question& wish) { return reply<std::string>{self->state.embed(wish)}; },
  };
}

// -- memories --

void memory_embedder_state::start(caf::stateful_actor<memory_embedder_state>* self,
                                  surroundings_ptr around, embed_texts source) {
  self_ = self;
  around_ = std::move(around);
  source_ = std::move(source);
  self_->send(self_, tick_atom::value);
}

template <class Answer, class Message, class Then>
void memory_embedder_state::ask(const caf::actor& whom, Message message, Then then) {
  self_->request(whom, caf::infinite, std::move(message))
    .then(
      [this, then](reply<Answer>& r) {
        if (r.value)
          then(*r.value);
        else
          fail_with(r.value.error());
      },
      [this](const caf::error&) { rest(idle_pause); });
}

void memory_embedder_state::rest(std::chrono::milliseconds pause) {
  if (!around_->ending)
    self_->delayed_send(self_, pause, tick_atom::value);
}

void memory_embedder_state::fail_with(const error& why) {
  if (!around_->ending && pause_ == 0ms)
    spdlog::warn("no vectors of memories, trying again: {}", why.message);
  pause_ = std::clamp<std::chrono::milliseconds>(pause_ * 2, 1s, longest_pause);
  rest(std::max<std::chrono::milliseconds>(pause_, std::chrono::milliseconds(why.retry_after_ms)));
}

void memory_embedder_state::work() {
  if (around_->ending)
    return;
  projections::row_query query;
  query.table = &vectors::spec;
  query.index = vectors::by_model;
  query.equals = {of_model_};
  query.limit = page_size;
  if (!after_.empty())
    query.after = after_;
  ask<std::vector<projections::row>>(
    around_->readers.back(), read_rows{std::move(query)},
    [this](const std::vector<projections::row>& rows) { next_page(rows); });
}

void memory_embedder_state::next_page(const std::vector<projections::row>& rows) {
  if (rows.empty()) {
    next_model();
    return;
  }
  after_ = {rows.back()[vectors::stream], rows.back()[vectors::id]};
  auto all = std::make_shared<std::vector<wanted>>();
  for (const auto& r : rows)
    if (!refused_.contains({word(r, vectors::id), word(r, vectors::hash)}))
      all->push_back(
        {std::get<std::int64_t>(r[vectors::stream]),
         stream_id(stream_kind::memory_space,
                   {word(r, vectors::tenant), word(r, vectors::app), word(r, vectors::user)}),
         {},
         {word(r, vectors::id), word(r, vectors::hash), around_->embedding_model, {}}});
  read_texts(all, 0);
}

/// The first model behind the last one of which there are vectors, but ours.
void memory_embedder_state::next_model() {
  after_.clear();
  projections::row_query query;
  query.table = &vectors::spec;
  query.index = vectors::by_model;
  query.limit = 1;
  query.after = {of_model_, std::numeric_limits<std::int64_t>::max(), std::string()};
  ask<std::vector<projections::row>>(around_->readers.back(), read_rows{std::move(query)},
                                     [this](const std::vector<projections::row>& rows) {
                                       if (rows.empty()) {
                                         of_model_.clear();
                                         rest(idle_pause);
                                         return;
                                       }
                                       of_model_ = word(rows.front(), vectors::model);
                                       if (of_model_ == around_->embedding_model)
                                         next_model();
                                       else
                                         work();
                                     });
}

void memory_embedder_state::read_texts(const page& all, std::size_t at) {
  if (at == all->size()) {
    embed(all);
    return;
  }
  projections::row_query query;
  query.table = &memories::spec;
  query.equals = {(*all)[at].stream, (*all)[at].what.id};
  query.limit = 1;
  ask<std::vector<projections::row>>(
    around_->readers.back(), read_rows{std::move(query)},
    [this, all, at](const std::vector<projections::row>& rows) {
      // What is gone, or changed meanwhile, is met again if it has to be.
      if (!rows.empty() && word(rows.front(), memories::hash) == (*all)[at].what.hash)
        (*all)[at].text = beginning_of(word(rows.front(), memories::text));
      read_texts(all, at + 1);
    });
}

void memory_embedder_state::embed(const page& all) {
  std::erase_if(*all, [](const wanted& w) { return w.text.empty(); });
  if (all->empty()) {
    self_->send(self_, tick_atom::value);
    return;
  }
  std::vector<std::string> texts;
  for (const auto& w : *all)
    texts.push_back(w.text);
  auto made = source_(texts, page_patience, around_->ending);
  if (!made && made.error().code == errc::rejected) {
    // Perhaps only one of them is what it does not take.
    made = std::vector<std::vector<float>>();
    for (const auto& text : texts) {
      auto one = source_(std::span(&text, 1), page_patience, around_->ending);
      if (!one && one.error().code != errc::rejected) {
        made = fail(std::move(one.error()));
        break;
      }
      made->push_back(one ? std::move(one->front()) : std::vector<float>());
    }
  }
  if (!made) {
    after_.clear();
    fail_with(made.error());
    return;
  }
  pause_ = 0ms;
  for (std::size_t i = 0; i < all->size(); ++i) {
    auto& w = (*all)[i];
    w.what.vector = retrieval::quantised((*made)[i]);
    if (w.what.vector.size() > memory_space::dimensions_max)
      w.what.vector.clear();
    if (w.what.vector.empty() && refused_.size() < refused_max)
      refused_.emplace(w.what.id, w.what.hash);
  }
  std::erase_if(*all, [](const wanted& w) { return w.what.vector.empty(); });
  tell(all);
}

void memory_embedder_state::tell(const page& all) {
  std::unordered_map<stream_id, memory_space::embed> by_owner;
  for (auto& w : *all)
    by_owner[w.owner].all.push_back(std::move(w.what));
  struct told {
    std::size_t open = 1;
    std::optional<error> failure;
  };
  const auto all_told = std::make_shared<told>();
  const auto done = [this, all_told](const std::optional<error>& failure) {
    if (failure)
      all_told->failure = failure;
    if (--all_told->open > 0)
      return;
    if (!all_told->failure) {
      self_->send(self_, tick_atom::value);
      return;
    }
    // The model is not asked for the same again at once.
    after_.clear();
    fail_with(*all_told->failure);
  };
  for (auto& [owner, command] : by_owner) {
    submit wish;
    wish.stream = owner;
    wish.command = std::make_shared<const any_command>(memory_space::command(std::move(command)));
    wish.now = around_->clock();
    ++all_told->open;
    self_->request(around_->directory, caf::infinite, std::move(wish))
      .then(
        [done](reply<committed>& r) {
          done(r.value ? std::nullopt : std::optional(r.value.error()));
        },
        [done](const caf::error&) {
          done(error{errc::unavailable, "the node is ending"});
        });
  }
  done({});
}

caf::behavior memory_embedder(caf::stateful_actor<memory_embedder_state>* self,
                              surroundings_ptr around, embed_texts source) {
  self->state.start(self, std::move(around), std::move(source));
  return {[self](tick_atom) { self->state.work(); }};
}

}  // namespace recalld::actors
