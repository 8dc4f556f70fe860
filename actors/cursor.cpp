#include "actors/cursor.hpp"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <charconv>

namespace recalld::actors {

namespace {

constexpr std::string_view format = "2.";
constexpr std::size_t signature_bytes = 12;

std::string signature_of(const storage::log_identity& log, std::string_view text) {
  unsigned char sum[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  ::HMAC(::EVP_sha256(), log.cursor_key.data(), static_cast<int>(log.cursor_key.size()),
         reinterpret_cast<const unsigned char*>(text.data()), text.size(), sum, &size);
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (std::size_t i = 0; i < signature_bytes; ++i) {
    out += digits[sum[i] >> 4];
    out += digits[sum[i] & 15];
  }
  return out;
}

std::string prefix_of(const storage::log_identity& log) {
  return std::string(format) + log.log_id + '.';
}

template <class N>
bool whole_number(std::string_view digits, N& out) {
  const auto [end, bad] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
  return bad == std::errc{} && end == digits.data() + digits.size();
}

tl::unexpected<error> ahead(std::string why) {
  return fail(
    {errc::cursor_ahead, "the cursor " + std::move(why) + ": begin again", "after"});
}

}  // namespace

std::string render_cursor(const storage::log_identity& log, const log_place& place) {
  auto text = prefix_of(log) + std::to_string(log.generation) + '.';
  for (std::size_t s = 0; s < place.size(); ++s) {
    if (s > 0)
      text += '-';
    text += std::to_string(place[s]);
  }
  return text + '.' + signature_of(log, text);
}

result<log_place> parse_cursor(const storage::log_identity& log, const log_place& heads,
                               std::string_view text) {
  if (!text.starts_with(format))
    return fail_field("after", "is not a cursor");
  const auto prefix = prefix_of(log);
  if (!text.starts_with(prefix))
    return fail_field("after", "is a cursor of another log");
  const auto end = text.rfind('.');
  const auto middle = text.find('.', prefix.size());
  std::uint64_t generation = 0;
  if (middle == std::string_view::npos || end <= middle
      || text.substr(end + 1) != signature_of(log, text.substr(0, end))
      || !whole_number(text.substr(prefix.size(), middle - prefix.size()), generation))
    return fail_field("after", "is a damaged cursor");
  if (generation != log.generation)
    return ahead("is of a time before the log was restored");
  log_place out;
  auto rest = text.substr(middle + 1, end - middle - 1);
  for (;;) {
    const auto next = std::min(rest.find('-'), rest.size());
    if (!whole_number(rest.substr(0, next), out.emplace_back()))
      return fail_field("after", "is a damaged cursor");
    if (next == rest.size())
      break;
    rest.remove_prefix(next + 1);
  }
  if (out.size() != heads.size())
    return fail_field("after", "is a cursor of a log with another number of shards");
  for (std::size_t s = 0; s < out.size(); ++s)
    if (out[s] > heads[s])
      return ahead("lies ahead of the log");
  return out;
}

}  // namespace recalld::actors
