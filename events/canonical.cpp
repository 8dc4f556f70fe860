#include "events/canonical.hpp"

#include <array>
#include <charconv>
#include <cmath>

#include <openssl/evp.h>

#include "events/json.hpp"

namespace recalld {

namespace {

std::string number_text(std::string_view raw) {
  const bool whole = raw.find_first_of(".eE") == raw.npos;
  if (whole)
    return raw == "-0" ? "0" : std::string(raw);
  double d = 0;
  const auto [stop, failure] = std::from_chars(raw.data(), raw.data() + raw.size(), d);
  if (failure != std::errc{} || !std::isfinite(d))
    return std::string(raw);
  constexpr double exact = 9007199254740992.0;
  std::array<char, 32> out{};
  if (std::trunc(d) == d && std::fabs(d) <= exact) {
    const auto end = std::to_chars(out.data(), out.data() + out.size(), static_cast<long long>(d));
    return {out.data(), end.ptr};
  }
  const auto end = std::to_chars(out.data(), out.data() + out.size(), d);
  return {out.data(), end.ptr};
}

void append_canonical(std::string& out, std::string_view raw) {
  switch (json::kind_of(raw)) {
    case json::kind::string: {
      auto plain = json::as_string(raw, "");
      out += plain ? json::quote(*plain) : std::string(raw);
      return;
    }
    case json::kind::number: out += number_text(json::trim(raw)); return;
    case json::kind::array: {
      out.push_back('[');
      auto all = json::elements(raw, "");
      for (std::size_t i = 0; all && i < all->size(); ++i) {
        if (i > 0)
          out.push_back(',');
        append_canonical(out, (*all)[i]);
      }
      out.push_back(']');
      return;
    }
    case json::kind::object: {
      auto all = json::members(raw, "");
      if (!all) {
        out += json::minify(raw);  // A name that occurs twice: told apart by its text.
        return;
      }
      std::map<std::string, std::string_view> sorted;
      for (auto& m : *all)
        sorted.emplace(std::move(m.name), m.raw);
      out.push_back('{');
      bool first = true;
      for (const auto& [name, value] : sorted) {
        if (!first)
          out.push_back(',');
        first = false;
        json::append_quoted(out, name);
        out.push_back(':');
        append_canonical(out, value);
      }
      out.push_back('}');
      return;
    }
    default: out += json::trim(raw); return;
  }
}

}  // namespace

std::string canonical_json(std::string_view valid) {
  std::string out;
  out.reserve(valid.size());
  append_canonical(out, valid);
  return out;
}

std::string sha256_hex(std::string_view bytes) {
  std::array<unsigned char, 32> digest{};
  unsigned size = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr);
  std::string out;
  for (auto byte : digest) {
    out.push_back("0123456789abcdef"[byte >> 4]);
    out.push_back("0123456789abcdef"[byte & 15]);
  }
  return out;
}

std::string hash_of_parts(std::initializer_list<std::string_view> parts) {
  std::string whole;
  for (auto part : parts)
    whole.append(std::to_string(part.size())).append(":").append(part);
  return sha256_hex(whole);
}

}  // namespace recalld
