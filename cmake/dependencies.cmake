# Everything that is not ours. Debian 12 and 13 ship different versions; where they also differ in
# how they are found, the difference is hidden here.

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(CAF 0.17 REQUIRED COMPONENTS core io openssl)
find_package(OpenSSL REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(SQLiteCpp REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(simdjson REQUIRED)
find_package(tl-expected REQUIRED)
find_package(CLI11 REQUIRED)
find_package(spdlog REQUIRED)
find_package(fmt REQUIRED)

# RocksDB's CMake package asks for the development files of every compressor it was built with;
# the shared library needs none of them.
pkg_check_modules(rocksdb REQUIRED IMPORTED_TARGET rocksdb)

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
