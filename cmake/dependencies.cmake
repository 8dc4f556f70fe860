# Everything that is not ours. Debian 12 and 13 ship different versions; where they also differ in
# how they are found, the difference is hidden here.

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(CAF 0.17 REQUIRED COMPONENTS core io openssl)
find_package(OpenSSL REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(SQLiteCpp REQUIRED)
pkg_check_modules(libpq REQUIRED IMPORTED_TARGET libpq)
find_package(nlohmann_json REQUIRED)
find_package(simdjson REQUIRED)
find_package(tl-expected REQUIRED)
find_package(CLI11 REQUIRED)
find_package(spdlog REQUIRED)
find_package(fmt REQUIRED)
find_package(date REQUIRED)
find_package(CURL REQUIRED)

# RocksDB's CMake package asks for the development files of every compressor it was built with;
# the shared library needs none of them.
pkg_check_modules(rocksdb REQUIRED IMPORTED_TARGET rocksdb)

# Sealing of credentials at rest.
pkg_check_modules(sodium REQUIRED IMPORTED_TARGET libsodium)

# Folding of text (docs/decisions/0016-retrieval.md).
pkg_check_modules(icu REQUIRED IMPORTED_TARGET icu-uc)
# libstemmer has neither a CMake package nor a .pc file.
find_path(stemmer_INCLUDE libstemmer.h REQUIRED)
find_library(stemmer_LIBRARY stemmer REQUIRED)
add_library(stemmer::stemmer UNKNOWN IMPORTED)
set_target_properties(stemmer::stemmer PROPERTIES IMPORTED_LOCATION "${stemmer_LIBRARY}"
                      INTERFACE_INCLUDE_DIRECTORIES "${stemmer_INCLUDE}")

# The allocator of our programs (docs/decisions/0007-allocator.md); sanitizers bring their own.
add_library(recalld_allocator INTERFACE)
if(NOT RECALLD_SANITIZE)
  pkg_check_modules(jemalloc IMPORTED_TARGET jemalloc)
  if(jemalloc_FOUND)
    # Nothing of ours names it: it must be linked nevertheless.
    target_link_options(recalld_allocator INTERFACE -Wl,--push-state,--no-as-needed
                        ${jemalloc_LINK_LIBRARIES} -Wl,--pop-state)
  else()
    message(STATUS "jemalloc was not found: programs use the system's allocator and are slower")
  endif()
endif()

if(RECALLD_BENCH)
  # What the store is compared with.
  pkg_check_modules(pqxx REQUIRED IMPORTED_TARGET libpqxx)
endif()

if(RECALLD_TESTS)
  find_package(rapidcheck REQUIRED)
  find_package(Catch2 REQUIRED)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  # Catch2 2.13 is a header, 3 is a library; tests/main.cpp brings the main function for both.
endif()

# Third-party headers count as system headers, so that our warnings do not reach them.
foreach(target IN ITEMS SQLiteCpp nlohmann_json::nlohmann_json simdjson::simdjson tl::expected
                        CLI11::CLI11 rapidcheck Catch2::Catch2)
  if(TARGET ${target})
    get_target_property(dirs ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(dirs)
      set_target_properties(${target} PROPERTIES INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${dirs}")
    endif()
  endif()
endforeach()
